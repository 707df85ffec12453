"""One Hypothesis strategy per door: valid files, damaged or with odd values in them."""

from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fuzz import seeds
from fuzz.worker import Case

Draw = Callable[[st.SearchStrategy[Any]], Any]
NASTY = "=[/b]<i>\x1b[31m\n\u202e../|\\$"
DEEP = "@deep@"  # becomes lists in lists, too deep for a parser that recurs
WORDS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\xff\xff\0\0", b"\x01\0\0\0"]
PARTS = [b"", b"\0", b"\xff" * 9, b"[" * 50, b"\n", b"\xef\xbb\xbf", b"\x1f\x8b", b"PK\x03\x04"]
ODD: st.SearchStrategy[Any] = st.sampled_from([
    *(None, True, False, -1, 0, 1, 2, 7, 100_000, 2**31, 2**63, 10**30, 0.5, -0.5, 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "x", "a,b", "\ud800", "\0", NASTY, "a" * 70_000, "1e9"),
    *([], {}, [[]], [1, 2], [1.5, "x"], {"a": 1}, {"": {}}, ["x"] * 300, DEEP, "../../x", "/etc/passwd", "nan"),
]).map(deepcopy)  # fmt: skip
ODD_TEXT = st.sampled_from([
    *("", " ", "-1", "0", "7", "8", "1e5", "nan", "inf", "1.0", "0.0", "x", "happy", "Happy", "training", "255", "256"),
    *("٣", "1_0", "+1", "0x1", '"', "'", ";", ",", "\t", "\0", NASTY, "1 2 3", "7 " * 3000, "9" * 5000, "../a.png"),
    *("\ud800", "\ufeff", "a" * 5000, "0.png", "/dev/zero", "."),
])  # fmt: skip


@st.composite
def damaged(draw: Draw, data: bytes) -> bytes:
    """Draw a file with up to four pieces flipped, cut off, left out, repeated, or replaced."""
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(out) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "word", "cut", "drop", "repeat", "insert"]))
        n = draw(st.sampled_from([1, 2, 4, 16, 300]))
        if kind == "flip" and out:
            out[place] = draw(st.integers(0, 255))
        elif kind == "word":
            word = draw(st.sampled_from(WORDS))
            out[place : place + len(word)] = word
        elif kind == "cut":
            del out[place:]
        elif kind == "drop":
            del out[place : place + n]
        elif kind == "repeat":
            out[place:place] = out[place : place + n] * draw(st.sampled_from([1, 3, 50]))
        else:
            out[place:place] = draw(st.sampled_from(PARTS))
    return bytes(out)


@st.composite
def mutated(draw: Draw, tree: Any) -> Any:
    """Draw a JSON value with one to three odd values in it: replaced, added or left out."""
    out = {"root": deepcopy(tree)}
    for _ in range(draw(st.integers(1, 3))):
        places = [place for place in _places(out) if place[0] is not out or draw(st.integers(0, 9)) == 0]
        if not places:
            break
        parent, key = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if kind == "replace":
            parent[key] = draw(ODD)
        elif kind == "remove" and parent is not out:
            del parent[key]
        elif isinstance(parent, dict):
            parent[draw(st.sampled_from(["", "x", NASTY, str(key).upper()]))] = draw(ODD)
        else:
            parent.append(draw(ODD))
    return out["root"]


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return all (parent, key) of a tree of dicts and lists."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree))) if isinstance(tree, list) else []
    return [(tree, key) for key in keys] + [place for key in keys for place in _places(tree[key])]


def as_json(tree: Any) -> str:
    return json.dumps(tree).replace(f'"{DEEP}"', "[" * 60_000 + "]" * 60_000)


@st.composite
def json_texts(draw: Draw, text: str) -> bytes:
    """Draw a JSON file with odd values, or damaged."""
    if draw(st.integers(0, 3)) == 0:
        return bytes(draw(damaged(text.encode())))
    return as_json(draw(mutated(json.loads(text)))).encode()


@st.composite
def csv_rows(draw: Draw, rows: list[list[str]]) -> bytes:
    """Draw a CSV file with odd cells, rows and columns, in any spelling, or damaged."""
    rows = deepcopy(rows)
    for _ in range(draw(st.integers(0, 3))):
        row = draw(st.sampled_from(rows))
        place = draw(st.integers(0, max(len(row) - 1, 0)))
        kind = draw(st.sampled_from(["cell", "cell", "drop", "add", "column", "row"]))
        if kind == "cell" and row:
            row[place] = draw(ODD_TEXT)
        elif kind == "drop":
            del row[place : place + 1]
        elif kind == "add":
            row.insert(place, draw(ODD_TEXT))
        elif kind == "column":
            for each in rows:
                del each[place : place + 1]
        else:
            rows.remove(row)
            if not rows:
                break
    text = seeds.as_csv(rows, delimiter=draw(st.sampled_from([",", ",", ",", ";", "\t"])))
    if draw(st.integers(0, 3)) == 0:
        text = draw(damaged(text))
    if draw(st.integers(0, 7)) == 0:
        text = text.decode("utf-8", "replace").encode(draw(st.sampled_from(["utf-16", "utf-8-sig", "utf-32"])))
    return text


@st.composite
def arrays(draw: Draw, members: Mapping[str, bytes]) -> bytes:
    """Draw an .npz file whose arrays have other headers, types, shapes or text, or that is damaged."""
    members = dict(members)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(members) or ["about.npy"]))
        kind = draw(st.sampled_from(["about", "array", "header", "damage", "remove"]))
        if kind == "about":
            about = json.loads(str(np.load(io.BytesIO(seeds.prepared()["about.npy"]))))
            if "about.npy" in members and len(members) > 4:
                about = json.loads(str(np.load(io.BytesIO(seeds.audited()["about.npy"]))))
            members["about.npy"] = _npy(np.array(as_json(draw(mutated(about)))))
        elif kind == "array":
            dtype = draw(st.sampled_from(["u1", "i1", "i8", "f4", "?", "U3", "S2", "c16", "M8[s]", "u1,f4", "V4"]))
            shape = draw(
                st.sampled_from([(), (0,), (60,), (60, 1), (59,), (60, 24, 24, 1), (60, 0, 0, 1), (60, 2, 2, 3)])
            )
            members[name] = _npy(np.zeros(shape, dtype))
        elif kind == "header":
            text = draw(st.sampled_from([
                "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999,)}",
                "{'descr': '|u1', 'fortran_order': False, 'shape': (60, 100000, 100000, 1)}",
                "{'descr': '<i8', 'fortran_order': True, 'shape': (-1,)}", "{" * 90, "(" * 9000, "[1" * 3000, "",
                "{'descr': '|O', 'fortran_order': False, 'shape': (60,)}", "{'descr': [('a', '|u1')] * 2, 'shape': ()}",
            ]))  # fmt: skip
            members[name] = b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode() + b"\0" * 60
        elif kind == "damage" and name in members:
            members[name] = draw(damaged(members[name]))
        else:
            members.pop(name, None)
    content = seeds.zipped(members)
    return draw(damaged(content)) if draw(st.integers(0, 5)) == 0 else content


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


@st.composite
def picture_cases(draw: Draw) -> Case:
    name = draw(st.sampled_from(sorted(seeds.pictures())))
    content = draw(damaged(seeds.pictures()[name]))
    if draw(st.integers(0, 5)) == 0:
        name = draw(
            st.sampled_from(["a", "a.png", "a.jpg", "a.heic", "a.mp4", "a.npz", f"{NASTY.replace('/', '')}.png"])
        )
    return Case({name: content}, (name,))


@st.composite
def video_cases(draw: Draw) -> Case:
    name = draw(st.sampled_from(sorted(seeds.videos())))
    return Case({name: draw(damaged(seeds.videos()[name]))}, (name,))


@st.composite
def sound_cases(draw: Draw) -> Case:
    name = draw(st.sampled_from(sorted(seeds.recordings())))
    return Case({name: draw(damaged(seeds.recordings()[name]))}, (name,))


@st.composite
def spec_cases(draw: Draw) -> Case:
    text = as_json(draw(mutated(json.loads(seeds.spec()))))
    if draw(st.integers(0, 3)) == 0:
        return Case({"a.onnx": draw(damaged(seeds.model_with(seeds.spec())))}, ("a.onnx",))
    return Case({"a.onnx": seeds.model_with(text)}, ("a.onnx",))


@st.composite
def keras_cases(draw: Draw) -> Case:
    if draw(st.booleans()):
        content = draw(damaged(seeds.keras_file()))
    else:
        content = seeds.keras_with(as_json(draw(mutated(json.loads(seeds.keras_config())))))
    name = draw(st.sampled_from(["a.h5", "a.h5", "a.keras"]))
    return Case({name: content}, (name,))


@st.composite
def picture_folders(draw: Draw) -> dict[str, bytes]:
    """Draw the files of a dataset in class folders, with other names, and damaged ones among them."""
    files = dict(seeds.class_folders())
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(files)))
        kind = draw(st.sampled_from(["damage", "empty", "rename", "remove", "text"]))
        content = files.pop(name)
        if kind == "damage":
            files[name] = draw(damaged(content))
        elif kind in ("empty", "text"):
            files[name] = b"" if kind == "empty" else b"version https://git-lfs.github.com/spec/v1\n"
        elif kind == "rename":
            renamed = ["x.png", "train/x.png", f"train/{NASTY.replace('/', '')[:-1]}/0.png", "fer2013.csv", "label.csv"]
            files[draw(st.sampled_from([*renamed, "test/happy.png/a.png", "train/1/1.png", "valid/happy/.png"]))] = (
                content
            )
        if not files:
            break
    return files


@st.composite
def folder_cases(draw: Draw) -> Case:
    return Case({f"data/{name}": content for name, content in draw(picture_folders()).items()}, ("data",))


@st.composite
def zip_cases(draw: Draw) -> Case:
    files = draw(picture_folders())
    if draw(st.integers(0, 4)) == 0:
        files[draw(st.sampled_from(["../x.png", "/x.png", "a/" * 300 + "x.png", "C:\\x.png"]))] = b"x"
    content = seeds.zipped(files)
    return Case({"a.zip": draw(damaged(content)) if draw(st.booleans()) else content}, ("a.zip",))


@st.composite
def fer2013_cases(draw: Draw) -> Case:
    content = draw(csv_rows(seeds.fer2013()))
    kind = draw(st.sampled_from(["a.csv", "a.csv", "a.csv.gz", "a.csv.zip"]))
    if kind.endswith(".gz"):
        content = gzip.compress(content, 1)
        content = draw(damaged(content)) if draw(st.booleans()) else content
    elif kind.endswith(".zip"):
        content = seeds.zipped({"fer2013.csv": content})
    return Case({kind: content}, (kind,))


@st.composite
def ferplus_cases(draw: Draw) -> Case:
    files = {"a.csv": seeds.as_csv(seeds.fer2013()), "fer2013new.csv": draw(csv_rows(seeds.votes()))}
    return Case(files, ("a.csv", draw(st.sampled_from([None, "fer2013new.csv"]))))


@st.composite
def table_cases(draw: Draw) -> Case:
    files = {f"data/{i}.png": seeds.pictures()["a.png"] for i in range(6)}
    name = draw(st.sampled_from(["labels.csv", "labels.csv", "labels.tsv", "list.txt"]))
    return Case(
        {**files, f"data/{name}": draw(csv_rows(seeds.labels()))}, (draw(st.sampled_from(["data", f"data/{name}"])),)
    )


@st.composite
def run_cases(draw: Draw) -> Case:
    files = dict(seeds.run_files())
    name = draw(st.sampled_from(sorted(files)))
    if draw(st.integers(0, 9)) == 0:
        del files[name]
    elif name.endswith(".json"):
        files[name] = draw(json_texts(files[name].decode()))
    elif name.endswith(".jsonl"):
        files[name] = draw(json_texts(files[name].decode())) + b"\n"
    else:
        length = struct.unpack("<Q", files[name][:8])[0]
        header, tensors = files[name][8 : 8 + length], files[name][8 + length :]
        if draw(st.booleans()):
            header = draw(json_texts(header.decode()))
            files[name] = struct.pack("<Q", len(header)) + header + tensors
        else:
            files[name] = draw(damaged(files[name]))
    return Case({f"run/{name}": content for name, content in files.items()}, ("run",))


@st.composite
def recipe_cases(draw: Draw) -> Case:
    settings = draw(mutated(json.loads(seeds.recipe())))
    lines = [f"{key} = {_toml(value)}" for key, value in (settings.items() if isinstance(settings, dict) else ())]
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    return Case({"a.toml": draw(damaged(content)) if draw(st.integers(0, 3)) == 0 else content}, ("a.toml",))


@st.composite
def setting_cases(draw: Draw) -> Case:
    keys = sorted(json.loads(seeds.recipe()))
    values = st.one_of(ODD.map(_toml), ODD_TEXT)
    texts = draw(
        st.lists(st.tuples(st.sampled_from([*keys, *keys, "", "x", "preprocess.size"]), values), min_size=1, max_size=2)
    )
    return Case({}, ("tiny", *(f"{key}={value}" for key, value in texts)))


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if value == DEEP:
        return "[" * 3000 + "]" * 3000
    if isinstance(value, float):
        return {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}.get(json.dumps(value), repr(value))
    return "''" if value is None else json.dumps(value)


def file_cases(name: str, content: st.SearchStrategy[bytes]) -> st.SearchStrategy[Case]:
    return content.map(lambda content: Case({name: content}, (name,)))


@st.composite
def command_cases(draw: Draw) -> Case:
    files = {"a.png": seeds.pictures()["a.png"], "a.onnx": seeds.model_with(seeds.spec()), "a.csv": b"x,y\n1,2\n"}
    files |= {"data/a.npz": seeds.zipped(seeds.prepared()), "bad.png": b"\x89PNG\r\n", "run/config.json": b"{}"}
    things = st.sampled_from(
        [*files, "data", "run", ".", "", "-", "none", NASTY, "0", "-1", "nan", "x" * 300, "1e9", "a.npz"]
    )
    verbs = [
        "predict", "explain", "models", "models add", "convert", "data info", "data prepare", "data export",
        "data audit", "data draw --count 3", "evaluate", "compare", "export", "train --resume", "train none",
        "live --no-window",
    ]  # fmt: skip
    options = [
        "--model", "--out", "--csv", "--jsonl", "--detector", "--min-score", "--min-confidence", "--top", "--labels",
        "--size", "--channels", "--name", "--split", "--subset", "--seed", "--data", "--votes", "--set", "--glob",
        "--json", "--views", "--classes", "--group-by", "--audit", "--slices", "--threshold", "--normalize", "--init",
    ]  # fmt: skip
    words = [*draw(st.sampled_from(verbs)).split(), *draw(st.lists(things, max_size=2))]
    for option in draw(st.lists(st.sampled_from(options), max_size=3)):
        words += [option] if option == "--json" else [option, draw(things)]
    return Case(files, tuple(words))


STRATEGIES: dict[str, st.SearchStrategy[Case]] = {
    "picture": picture_cases(), "video": video_cases(), "sound": sound_cases(), "spec": spec_cases(),
    "model": spec_cases(), "keras": keras_cases(), "zip": zip_cases(), "folder": folder_cases(),
    "fer2013": fer2013_cases(), "ferplus": ferplus_cases(), "table": table_cases(), "run": run_cases(),
    "recipe": recipe_cases(), "setting": setting_cases(), "command": command_cases(),
    "prepared": st.deferred(lambda: file_cases("a.npz", arrays(seeds.prepared()))),
    "audit": st.deferred(lambda: file_cases("a.npz", arrays(seeds.audited()))),
    "slices": file_cases("a.csv", csv_rows([["file", "age"], *([f"{i}.png", str(i)] for i in range(9))])),
    "metrics": st.deferred(lambda: file_cases("metrics.json", json_texts(seeds.metrics()))),
    "window": file_cases("window.json", json_texts('{"mode": "picture", "dark": true, "model": "a, b"}')),
}  # fmt: skip
