"""Files and modules of mien that PyInstaller does not find by itself: data, and modules imported on first use."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

# They need PyTorch, Keras or Jupyter; an app that imports them by itself gets them all the same.
HEAVY = ("mien.training", "mien.nets", "mien.convert", "mien.notebook")


def _is_light(name: str) -> bool:
    return not any(name == heavy or name.startswith(f"{heavy}.") for heavy in HEAVY)


datas = collect_data_files("mien") + copy_metadata("mien")  # models, recipes, font, layout, stubs of the lazy imports
datas += collect_data_files("cv2", includes=["data/haarcascade_frontalface_*.xml"])
hiddenimports = collect_submodules("mien", filter=_is_light)
