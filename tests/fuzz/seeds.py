"""Valid files, small ones, from which inputs are made."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import warnings
import zipfile
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from mien.data.dataset import Dataset
from mien.data.synthetic import draw_faces


@cache
def faces() -> Dataset:
    """Return 60 drawn faces of 24×24 pixels."""
    return draw_faces(60, seed=0, size=24)


@cache
def pictures() -> dict[str, bytes]:
    """Return a picture in each format, by file name."""
    grey = np.outer(np.arange(20), np.arange(24)).astype(np.uint8)
    colour, clear = (
        Image.fromarray(np.dstack([grey, grey.T[:20].repeat(2, 1)[:, :24], grey])),
        Image.new("RGBA", (9, 9)),
    )
    deep, indexed = Image.fromarray(grey.astype(np.uint16) * 200), colour.convert("P")
    frames = {"save_all": True, "append_images": [clear.convert("RGB").resize((24, 20))] * 2}
    return {
        "a.png": _saved(colour, "PNG"), "deep.png": _saved(deep, "PNG"), "clear.png": _saved(clear, "PNG"),
        "p.png": _saved(indexed, "PNG"), "a.jpg": _saved(colour, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
        "cmyk.jpg": _saved(colour.convert("CMYK"), "JPEG"), "a.bmp": _saved(colour, "BMP"),
        "a.tif": _saved(colour, "TIFF"), "lzw.tif": _saved(deep, "TIFF", compression="tiff_lzw"),
        "a.webp": _saved(colour, "WEBP"), "moving.webp": _saved(colour, "WEBP", **frames),
        "a.gif": _saved(colour, "GIF", **frames), "moving.png": _saved(colour, "PNG", **frames),
        "a.avif": _saved(colour, "AVIF"), "a.ppm": _saved(colour, "PPM"), "a.jp2": _saved(colour, "JPEG2000"),
    }  # fmt: skip


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@cache
def videos() -> dict[str, bytes]:
    from clips import write_video

    with tempfile.TemporaryDirectory() as folder:
        paths = [write_video(Path(folder, name), n=4, size=(32, 24)) for name in ("a.mp4", "a.avi", "a.mkv", "a.mov")]
        return {path.name: path.read_bytes() for path in paths}


@cache
def recordings() -> dict[str, bytes]:
    """Return a quarter of a second of sound in each format, by file name."""
    import soundfile

    from speech import tone, write_clip, write_wav

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_wav(place / "a.wav", tone(0.25))
        write_wav(place / "b.wav", tone(0.25, rate=8_000), rate=8_000, width=3, channels=2)
        soundfile.write(place / "f.wav", tone(0.25), 16_000, subtype="FLOAT")
        for suffix in ("flac", "ogg", "mp3", "aiff"):
            soundfile.write(place / f"a.{suffix}", tone(0.25, rate=48_000), 48_000)
        for suffix in ("m4a", "mkv", "mp4"):
            write_clip(place / f"a.{suffix}", tone(0.25, rate=48_000), n_frames=0 if suffix == "m4a" else 2)
        return {path.name: path.read_bytes() for path in sorted(place.iterdir())}


@cache
def model() -> bytes:
    """Return an ONNX model, the mean of an image times 0 to 6, without a spec."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "weights"], ["fer2013"]),
    ]
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [1, 7], list(range(7)))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    y = helper.make_tensor_value_info("fer2013", TensorProto.FLOAT, ["n", 7])
    graph = helper.make_graph(nodes, "net", [x], [y], [weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


@cache
def spec() -> str:
    from mien.labels import FER2013
    from mien.models.spec import Graph, Head, ModelSpec, Preprocess

    return ModelSpec(
        name="net", arch="foreign", heads=(Head(FER2013, 1.5),), preprocess=Preprocess(size=8),
        graph=Graph(input="float32-nchw", output="logits"), trained_on={"name": "fer2013", "made": "mien data draw"},
        recipe={"name": "tiny", "epochs": 3}, metrics={"test/flip/accuracy": 0.5}, license="MIT",
    ).to_json()  # fmt: skip


def model_with(spec_text: str) -> bytes:
    """Return the model with a text in place of its spec."""
    import onnx

    from mien.models.spec import SPEC_KEY

    made = onnx.load_model_from_string(model())
    made.metadata_props.add(key=SPEC_KEY, value="")
    made.metadata_props[0].value = spec_text
    return bytes(made.SerializeToString())


@cache
def keras_file() -> bytes:
    from keras_files import save_linear

    with tempfile.TemporaryDirectory() as folder:
        return save_linear(Path(folder, "a.h5")).read_bytes()


def keras_with(config: str) -> bytes:
    """Return the Keras file with another architecture."""
    import h5py

    file = io.BytesIO(keras_file())
    with h5py.File(file, "r+") as opened:
        opened.attrs["model_config"] = config.encode("utf-8", "surrogatepass")
    return file.getvalue()


@cache
def keras_config() -> str:
    import h5py

    with h5py.File(io.BytesIO(keras_file())) as opened:
        config = opened.attrs["model_config"]
        return config if isinstance(config, str) else bytes(config).decode()


@cache
def prepared() -> dict[str, bytes]:
    """Return the members of a prepared dataset."""
    from mien.data.prepared import prepare

    return _members(lambda path: prepare(faces(), path))


@cache
def audited() -> dict[str, bytes]:
    """Return the members of an audit index."""
    from mien.data.audit import audit, save_audit

    return _members(lambda path: save_audit(audit(faces()), path))


def _members(write) -> dict[str, bytes]:  # type: ignore[no-untyped-def]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.npz")
        write(path)
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@cache
def class_folders() -> dict[str, bytes]:
    """Return pictures in folders per split and class."""
    png = pictures()["a.png"]
    return {
        f"{split}/{label}/{i}.png": png for split in ("train", "test") for label in ("happy", "sad") for i in (0, 1)
    }


@cache
def fer2013() -> list[list[str]]:
    usages = ("Training", "PublicTest", "PrivateTest")
    rows = [[str(i % 7), " ".join(["7"] * 48 * 48), usages[i % 3]] for i in range(9)]
    return [["emotion", "pixels", "Usage"], *rows]


@cache
def votes() -> list[list[str]]:
    from mien.data.votes import VOTE_COLUMNS

    rows = [[row[2], f"fer{i:07}.png", *["1"] * 10] for i, row in enumerate(fer2013()[1:])]
    return [["Usage", "Image name", *VOTE_COLUMNS], *rows]


@cache
def labels() -> list[list[str]]:
    return [["image", "label", "split"], *([f"{i}.png", ("happy", "sad")[i % 2], "train"] for i in range(6))]


def as_csv(rows: list[list[str]], *, delimiter: str = ",") -> bytes:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return file.getvalue().encode("utf-8", "surrogatepass")


@cache
def metrics() -> str:
    from mien.evaluation.evaluate import evaluate_predictions
    from mien.models.spec import ModelSpec
    from mien.reports.metrics_json import to_metrics

    data = faces()
    guesses = np.random.default_rng(0).dirichlet([1] * 7, int((data.splits == 2).sum())).astype(np.float32)
    return json.dumps(to_metrics(evaluate_predictions({"single": guesses}, data, ModelSpec.from_json(spec()))))


@cache
def recipe() -> str:
    """Return the settings of a recipe as JSON."""
    from mien.training.recipe import load_recipe

    return json.dumps(asdict(load_recipe("tiny")))


@cache
def run_files() -> dict[str, bytes]:
    """Return the files of a run of one epoch."""
    from mien.models.spec import Preprocess
    from mien.training import Run, Stage, TrainConfig

    config = TrainConfig(
        net="tiny", preprocess=Preprocess(size=24), stages=(Stage(size=16, epochs=1),), batch_size=16,
        warmup_epochs=0, precision="32-true",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few images
        run = Run.start(config, faces(), Path(folder, "run"))
        run.fit()
        return {path.name: path.read_bytes() for path in run.folder.iterdir()}
