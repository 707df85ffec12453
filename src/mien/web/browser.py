"""Recognition in the browser itself: the files that the page needs, as a static site or from the service.

The page runs the same ONNX files on ONNX Runtime's WebAssembly build. See docs/guides/web.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from mien import __version__
from mien.download import download, failure_reason, is_offline
from mien.drawing.colours import css_colours
from mien.errors import ConfigError, MienError, ModelError, OutputError
from mien.files import atomic_folder, make_folder, sha256_of, user_folder
from mien.models.spec import DEFAULT_MODEL, ModelSpec
from mien.models.store import Model, find_model, list_models
from mien.structures import Progress
from mien.vision.fetch import yunet_path

PAGE = Path(__file__).parent / "page"
RUNTIME_VERSION = "1.30.0"
RUNTIME_URL = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{RUNTIME_VERSION}/dist/"
RUNTIME_FILES = {  # SHA-256; 31 MB, 8 MB compressed; those for WebGPU ("jspi") have more than half of it
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.jspi.min.mjs": "bc57179d923fda2d88d4a395359c8df44399dde087bf9ff44fc0e40ab398e4d9",
    "ort-wasm-simd-threaded.jspi.mjs": "270e2c6da9f297239d301d329782b6446641cb1e16a77967690adcfca35f3268",
    "ort-wasm-simd-threaded.jspi.wasm": "a54c76f86b0f0d9572380cf1c6292a7b3903716ffcbcd6b0e5c7050bf430eb93",
}
GPU_MARK = ".jspi."  # in names of files that only browsers with a graphics card fetch
CONNECT_SECONDS = 5  # to reach the server
SILENT_SECONDS = 60  # without a byte
SITE_MARK = "here/site.json"  # in a folder that `write_site` made, which it may replace
STATIC = '<meta name="mien-site" content="static">'  # by which the page knows that there is no service
POLICY = (  # what the page may load and send; the service adds to it in guard.py
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'"
)
POLICY_TAG = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
HEADERS = """\
/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
  X-Content-Type-Options: nosniff
  Referrer-Policy: no-referrer
"""  # read by Netlify, Cloudflare Pages and others; the page works without them too
LICENSES = f"""\
mien: Apache-2.0; the models' licences are in here/site.json.
here/yunet.onnx: YuNet, of OpenCV's model zoo, MIT, Copyright (c) 2020 Shiqi Yu.
here/ort: ONNX Runtime Web {RUNTIME_VERSION}, MIT, Copyright (c) Microsoft Corporation.
"""


def runtime_folder(*, fetch: bool = True, progress: Progress | None = None) -> Path:
    """Return the folder with ONNX Runtime for browsers: $MIEN_ORT_WEB, or the cache, fetched if it is not there.

    Args:
        fetch: Whether to fetch missing files (31 MB).
        progress: Called with the files fetched and their number.

    Raises:
        MienError: A file of $MIEN_ORT_WEB is missing or another one, or one cannot be fetched.
    """
    if given := os.environ.get("MIEN_ORT_WEB"):
        folder = Path(given)
        for name in RUNTIME_FILES:
            if not _is_runtime(folder / name):
                raise MienError(
                    f"MIEN_ORT_WEB is '{given}', where {name} is missing or another one; expected the folder dist of "
                    f"the npm package onnxruntime-web {RUNTIME_VERSION}"
                )
        return folder
    folder = user_folder("cache") / f"onnxruntime-web-{RUNTIME_VERSION}"
    missing = [name for name in RUNTIME_FILES if not _is_runtime(folder / name)]
    if missing and not fetch:
        raise _no_runtime("it was not fetched yet")
    for done, name in enumerate(missing, start=1):
        _fetch(name, folder)
        if progress is not None:
            progress(done, len(missing))
    return folder


def runs_in_browsers(spec: ModelSpec) -> bool:
    """Return whether the page can run a model itself: it takes raw pixels and gives probabilities, as mien's do."""
    return spec.kind == "face" and spec.crop == "fer2013" and spec.graph == type(spec.graph)()


def described(name: str, spec: ModelSpec, path: Path, temporal: Sequence[Model] = ()) -> dict[str, Any]:
    """Return what the page shows of a model: name, labels and their colours by label set, default_labels, temporal (the
    label sets for which one of the temporal models was trained), size."""
    try:
        size = path.stat().st_size
    except OSError:  # a model that is loaded works on when its file is gone
        size = 0
    smoothed = {
        (one.spec.temporal.classifier, one.spec.labels.name)
        for one in temporal
        if one.spec is not None and one.spec.temporal is not None
    }
    return {
        "name": name,
        "labels": {head.labels.name: list(head.labels) for head in spec.heads},
        "colours": {head.labels.name: css_colours(head.labels) for head in spec.heads},
        "default_labels": spec.labels.name,
        "temporal": [labels for labels in spec.names if (spec.name, labels) in smoothed],
        "size": size,
    }


def site(models: Sequence[Model], *, default: str) -> dict[str, Any]:
    """Return the description of the models for the page, its here/site.json.

    Keys: about (version, model, models, detector, detectors), specs (by model: heads, preprocess, license), detector.

    Args:
        models: Models that `runs_in_browsers`.
        default: Name of the one used first.
    """
    specs = {model.name: model.spec for model in models if model.spec is not None}
    about = {
        "version": __version__,
        "model": default,
        "models": [described(model.name, spec, model.path) for model in models if (spec := model.spec) is not None],
        "detector": "yunet",
        "detectors": ["yunet"],
    }
    plain = {
        name: {
            "name": name,
            "heads": [{"name": head.labels.name, "labels": list(head.labels)} for head in spec.heads],
            "preprocess": asdict(spec.preprocess),
            "license": spec.license,
        }
        for name, spec in specs.items()
    }
    return {"about": about, "specs": plain, "detector": "yunet"}


def write_site(
    out: str | Path,
    *,
    models: Sequence[str] = (DEFAULT_MODEL,),
    models_dir: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the page as a static site, which recognises in the browser and works without a network after one visit.

    Args:
        out: Folder; made where missing. In one that holds an earlier site, that one's files are replaced and others,
            such as .git, stay; any other must be empty.
        models: Names of the models; the first one is used unless another is chosen.
        models_dir: Directory of user models; the default one when None.
        progress: Called with the files fetched and their number, where ONNX Runtime is not on this machine yet.

    Returns:
        The folder.

    Raises:
        ConfigError: No model, or one twice.
        UnknownModel: No such model.
        ModelError: A model does not run in browsers, or YuNet cannot be fetched.
        MienError: ONNX Runtime cannot be fetched.
        OutputError: The folder holds something else, or cannot be written.
    """
    chosen = _models(models, models_dir)
    runtime, yunet = runtime_folder(progress=progress), yunet_path()
    target = Path(out)
    _check_replaceable(target)
    before = _files_of(target)
    with atomic_folder(target) as made:
        shutil.copytree(PAGE, made, dirs_exist_ok=True)
        _fill(made, chosen, runtime, yunet)
        now = _files_of(made)
    for name in before - now:
        with suppress(OSError):
            (target / name).unlink()
    return target


def _files_of(site: Path) -> set[str]:
    """Return the files that a site's service worker keeps; none where there is no site."""
    try:
        text = (site / "sw.js").read_text(encoding="utf-8")
        lists = re.findall(r"(?:FILES|LATER) = (\[.*?\]);", text)
        names = {name for part in lists for name in json.loads(part) if isinstance(name, str)}
    except (OSError, ValueError, RecursionError):
        return set()
    return {name for name in names if not (name.endswith("/") or name.startswith("/") or ".." in Path(name).parts)}


def _fill(folder: Path, models: Sequence[Model], runtime: Path, yunet: Path) -> None:
    """Write what the page needs besides its own files, and the list of all for the service worker."""
    here = folder / "here"
    (here / "ort").mkdir()
    (here / "models").mkdir()
    for name in RUNTIME_FILES:
        shutil.copyfile(runtime / name, here / "ort" / name)
    for model in models:
        shutil.copyfile(model.path, here / "models" / f"{model.name}.onnx")
    shutil.copyfile(yunet, here / "yunet.onnx")
    described = site(models, default=models[0].name)
    (here / "site.json").write_text(json.dumps(described, ensure_ascii=False, indent=1), encoding="utf-8")
    (folder / "LICENSES.txt").write_text(LICENSES, encoding="utf-8")
    (folder / "_headers").write_text(HEADERS, encoding="utf-8")
    _replace(folder / "index.html", '<meta charset="utf-8">', f'<meta charset="utf-8">\n  {STATIC}\n  {POLICY_TAG}')
    files = sorted(
        path for path in folder.rglob("*") if os.path.isfile(path) and path.name not in ("_headers", "sw.js")
    )
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    names = ["./", *(path.relative_to(folder).as_posix() for path in files)]
    later = [name for name in names if GPU_MARK in name]
    _replace(folder / "sw.js", '"none"', json.dumps(digest))
    _replace(folder / "sw.js", "FILES = []", f"FILES = {json.dumps([name for name in names if name not in later])}")
    _replace(folder / "sw.js", "LATER = []", f"LATER = {json.dumps(later)}")


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file.name} holds {old} {text.count(old)} times"
    file.write_text(text.replace(old, new), encoding="utf-8")


def _models(names: Sequence[str], models_dir: Path | None) -> list[Model]:
    if not names:
        raise ConfigError("no model for the page; name one")
    if len(set(names)) < len(names):
        raise ConfigError("a model is named twice; leave one out")
    installed = {model.name: model for model in list_models(models_dir)}
    for name in names:
        if name not in installed:
            find_model(name, models_dir=models_dir)  # says which there are
            raise ConfigError(f"'{name}' is a file; add it first: `mien models add {name}`, then give its name")
        spec = installed[name].spec
        if spec is None:
            raise ModelError(installed[name].problem)
        if not runs_in_browsers(spec):
            raise ModelError(f"'{name}' cannot run in the browser: its graph takes no raw pixels; choose another model")
    return [installed[name] for name in names]


def _check_replaceable(target: Path) -> None:
    if os.path.exists(target) and not os.path.isdir(target):
        raise OutputError(f"'{target}' is a file; name a folder")
    if os.path.isdir(target) and any(target.iterdir()) and not os.path.isfile(target / SITE_MARK):
        raise OutputError(f"'{target}' holds other files; choose a new or an empty folder")


def _is_runtime(file: Path) -> bool:
    try:
        found = file.stat()
        return _digest(file, found.st_size, found.st_mtime_ns) == RUNTIME_FILES[file.name]
    except OSError:
        return False


@lru_cache(maxsize=2 * len(RUNTIME_FILES))
def _digest(file: Path, size: int, changed_ns: int) -> str:
    """Return the SHA-256 of a file of this size and time: the service asks for each request."""
    return sha256_of(file)


def _fetch(name: str, folder: Path) -> None:
    if is_offline():
        raise _no_runtime("MIEN_OFFLINE is set")
    path = make_folder(folder) / name
    try:
        download(
            RUNTIME_URL + name, sha256=RUNTIME_FILES[name], path=path, connect_seconds=CONNECT_SECONDS,
            silent_seconds=SILENT_SECONDS,
        )  # fmt: skip
    except Exception as error:  # of the network, of the disk, of a hash that differs
        raise _no_runtime(f"{name}: {failure_reason(error)}") from error


def _no_runtime(reason: str) -> MienError:
    return MienError(
        f"ONNX Runtime for browsers could not be fetched ({reason}); run `mien page` with a network, or set "
        f"MIEN_ORT_WEB to the folder dist of the npm package onnxruntime-web {RUNTIME_VERSION}"
    )


def browser_models(models: Iterable[Model]) -> Iterator[Model]:
    """Yield those models that the page can run itself."""
    return (model for model in models if model.spec is not None and runs_in_browsers(model.spec))
