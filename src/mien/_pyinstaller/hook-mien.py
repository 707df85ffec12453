"""Files and modules of mien that PyInstaller does not find by itself: data, and modules imported on first use."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

# All but the last need PyTorch, Keras or Jupyter; an app that imports them by itself gets them all the same.
LEFT_OUT = ("mien.training", "mien.nets", "mien.convert", "mien.notebook", "mien._pyinstaller")


def _is_wanted(name: str) -> bool:
    return not any(name == part or name.startswith(f"{part}.") for part in LEFT_OUT)


datas = collect_data_files("mien") + copy_metadata("mien")  # models, recipes, font, layout, stubs of the lazy imports
datas += collect_data_files("cv2", includes=["data/haarcascade_frontalface_*.xml"])
hiddenimports = collect_submodules("mien", filter=_is_wanted)
