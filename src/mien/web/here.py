"""Files for recognition in the browser, served by the service: models, YuNet and ONNX Runtime.

They are there once ONNX Runtime is on this machine, see `browser.runtime_folder`, and not where a token guards the
service: these files need none, and a model may be private.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse

from mien.errors import MienError
from mien.models.store import Model
from mien.vision.fetch import local_yunet
from mien.web.browser import RUNTIME_FILES, browser_models, runtime_folder, site
from mien.web.engine import Engine
from mien.web.problems import Problem

TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm", ".onnx": "application/octet-stream"}


def add_routes(app: FastAPI, engine: Engine) -> None:
    """Add the routes below /here that are no files of the page."""

    @app.get("/here/site.json", include_in_schema=False)
    def described() -> dict[str, Any]:
        engine.check_ready()
        models = _models(engine) if _is_there(engine) else {}
        if not models:
            return {"about": None}  # no error: the page asks whether it may offer this
        default = engine.settings.model if engine.settings.model in models else next(iter(models))
        return site(list(models.values()), default=default)

    @app.get("/here/ort/{name}", include_in_schema=False)
    def runtime(name: str) -> FileResponse:
        if name not in RUNTIME_FILES:
            raise _absent()
        return _file(_parts(engine)[0] / name)

    @app.get("/here/yunet.onnx", include_in_schema=False)
    def yunet() -> FileResponse:
        return _file(_parts(engine)[1])

    @app.get("/here/models/{name}.onnx", include_in_schema=False)
    def model(name: str) -> FileResponse:
        _parts(engine)
        if (found := _models(engine).get(name)) is None:
            raise _absent()
        return _file(found.path)


def _parts(engine: Engine) -> tuple[Path, Path]:
    """Return the folder of ONNX Runtime and YuNet's file.

    Raises:
        Problem: 404, one is not on this machine, or a token guards the service.
    """
    try:
        yunet = local_yunet()
        if yunet is None or engine.settings.token is not None:
            raise _absent()
        return runtime_folder(fetch=False), yunet
    except MienError as error:
        raise _absent() from error


def _is_there(engine: Engine) -> bool:
    try:
        _parts(engine)
    except Problem:
        return False
    return True


def _models(engine: Engine) -> dict[str, Model]:
    return {model.name: model for model in browser_models(engine.models())}


def _file(path: Path) -> FileResponse:
    return FileResponse(path, media_type=TYPES[path.suffix])


def _absent() -> Problem:
    return Problem("not-found", "recognition in the browser is not set up here; see docs/guides/web.md")
