"""The app: routes for programs under /v1, the page at /, the documentation of the routes at /docs."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from mien import __version__
from mien.models.store import list_models
from mien.sources.paths import MAX_PIXELS
from mien.web import here, live, predict, videos
from mien.web.answers import AboutAnswer, HealthAnswer, LimitsAnswer, ModelAnswer, document
from mien.web.browser import PAGE, described
from mien.web.engine import MAX_FILES, Engine
from mien.web.guard import Guard, own_path
from mien.web.metrics import Observer
from mien.web.problems import add_handlers, answering_problems
from mien.web.settings import ServerSettings

DOCS = Path(__file__).parent / "docs"
TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
SUMMARY = "Expressions of faces in pictures. It is the expression that a face shows, not what the person feels."


def create_app(settings: ServerSettings | None = None) -> ASGIApp:
    """Return the service as an ASGI app: `uvicorn --factory mien.web:create_app`.

    Args:
        settings: Of the service; the defaults when None.

    Raises:
        MienError: The default model or detector cannot be loaded.
    """
    engine = Engine(settings or ServerSettings())
    engine.load()  # fails now rather than at the first request
    return app_of(engine)


def app_of(engine: Engine) -> ASGIApp:
    """Return the app of an engine, which may be loading still."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(
        title="mien", version=__version__, description=SUMMARY, docs_url=None, redoc_url=None,
        openapi_url="/v1/openapi.json", redirect_slashes=False, lifespan=lifespan,
    )  # fmt: skip
    app.state.engine = engine
    add_handlers(app)
    _add_routes(app, engine)
    if engine.settings.page:
        here.add_routes(app, engine)
    for suffix, kind in TYPES.items():  # Windows' registry may call modules plain text, which browsers don't run
        mimetypes.add_type(kind, suffix)
    app.include_router(predict.routes(engine))
    app.include_router(videos.routes(engine))
    app.include_router(live.routes(engine))
    _describe(app, engine)
    app.mount("/docs", StaticFiles(directory=DOCS))
    if engine.settings.page:
        app.router.default = _page(app.router.default)
    return Observer(Guard(_answering_head(answering_problems(app)), engine.settings), engine.metrics)


def _add_routes(app: FastAPI, engine: Engine) -> None:
    @app.get("/v1/health")
    async def health() -> HealthAnswer:
        """Return whether the service is ready: a problem, 503, while it loads."""
        engine.check_ready()
        return HealthAnswer(status="ok")

    @app.get("/v1/about")
    async def about() -> AboutAnswer:
        """Return models with their label sets, detectors and limits."""
        return await engine.run(_about, engine)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(engine.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs/", include_in_schema=False)
    async def docs_folder() -> RedirectResponse:
        return RedirectResponse("../docs")  # the page names its files from there, below any prefix of a proxy

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(DOCS / "index.html")


def _about(engine: Engine) -> AboutAnswer:
    settings = engine.settings
    engine.check_ready()
    temporal = list_models(settings.models_dir, kind="temporal")
    models = [
        ModelAnswer(**described(model.name, model.spec, model.path, temporal))
        for model in engine.models()
        if model.spec is not None
    ]
    limits = LimitsAnswer(
        bytes=settings.max_upload, video_bytes=settings.max_video, pixels=MAX_PIXELS, files=MAX_FILES,
        sessions=settings.sessions,
    )  # fmt: skip
    return AboutAnswer(
        version=__version__, model=models[0].name, models=models, detector=settings.detector,
        detectors=engine.names()["detector"], limits=limits,
    )  # fmt: skip


def _answering_head(app: ASGIApp) -> ASGIApp:
    """Return an app that answers HEAD as GET; the server leaves the body out (RFC 9110, 9.3.2)."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await app(scope, receive, send)
            return
        asked = {**scope, "method": "GET"}
        try:
            await app(asked, receive, send)
        finally:
            scope["route"] = asked.get("route")  # for the counts

    return answer


class _PageFiles(StaticFiles):
    """Files that the browser asks for each time, and gets where they changed: never modules of two versions."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _page(otherwise: ASGIApp) -> ASGIApp:
    """Return an app that serves the page's files; below /v1 the router's own 404 stays."""
    files = _PageFiles(directory=PAGE, html=True)

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        is_file = scope["type"] == "http" and not own_path(scope).startswith("/v1/")
        await (files if is_file else otherwise)(scope, receive, send)

    return serve


def _describe(app: FastAPI, engine: Engine) -> None:
    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
        names = engine.names()  # models come and go
        if engine.settings.token is not None:  # the document needs none, and a model may be private
            names = {"detector": names["detector"]}
        return document(app.openapi_schema, names)

    app.openapi = openapi  # type: ignore[method-assign]
