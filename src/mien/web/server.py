"""The app: routes for programs under /v1, the page at /."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from mien import __version__
from mien.web.engine import Engine
from mien.web.guard import Guard
from mien.web.problems import add_handlers
from mien.web.settings import Choice, ServerSettings

PAGE = Path(__file__).parent / "page"


def create_app(settings: ServerSettings | None = None) -> ASGIApp:
    """Return the service as an ASGI app: `uvicorn --factory mien.web:create_app`.

    Args:
        settings: Of the service; the defaults when None.

    Raises:
        MienError: The default model or detector cannot be loaded.
    """
    settings = settings or ServerSettings()
    engine = Engine(settings)
    engine.recognizer(Choice())  # fails now rather than at the first request

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    app = FastAPI(title="mien", version=__version__, docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json",
                  lifespan=lifespan)  # fmt: skip
    app.state.engine = engine
    add_handlers(app)
    _add_routes(app, engine)
    if settings.page:
        app.mount("/", StaticFiles(directory=PAGE, html=True))
    return Guard(app, settings)


def _add_routes(app: FastAPI, engine: Engine) -> None:
    from mien.web import live, predict

    @app.get("/v1/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/about")
    async def about() -> dict[str, Any]:
        return engine.about()

    app.include_router(predict.routes(engine))
    app.include_router(live.routes(engine))
