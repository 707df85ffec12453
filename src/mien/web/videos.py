"""Videos by HTTP: sent, recognised as jobs one after the other, fetched as files. See docs/guides/web.md."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from mien.web.answers import VideoAnswer
from mien.web.engine import Choice, Engine
from mien.web.forms import PART
from mien.web.jobs import FILES, Videos
from mien.web.problems import MEDIA_TYPE, Problem


def routes(engine: Engine) -> APIRouter:
    """Return the routes of videos."""
    videos = Videos(engine)
    router = APIRouter(prefix="/v1/videos", lifespan=videos.lifespan)
    binary = {"schema": {"type": "string", "format": "binary"}}
    form = {"type": "object", "required": [PART], "properties": {PART: binary["schema"]},
            "additionalProperties": False}  # fmt: skip
    body = {"requestBody": {"required": True, "content": {"video/mp4": binary, "video/webm": binary,
                                                          "multipart/form-data": {"schema": form}}}}  # fmt: skip

    @router.post("", status_code=202, openapi_extra=body, responses={507: _problem("There is no disk space for it.")})
    async def upload(request: Request, response: Response, query: Annotated[Choice, Query()]) -> VideoAnswer:
        """Queue a video: a raw body, or a form with one file.

        Its state is at the address in the header Location. It is recognised frame by frame as by `mien predict`. Video
        and results are deleted when asked for, at the end of the service, and an hour after the end of the job.
        """
        recognizer = await engine.run(engine.recognizer, query)
        async with videos.upload(request) as job:
            await engine.run(job.inspect, max_animation=engine.settings.max_upload)
            videos.queue(job, recognizer)
        response.headers["Location"] = f"{request.scope.get('root_path', '')}/v1/videos/{job.id}"
        return job.answer()

    @router.get("/{key}")
    async def state(key: str) -> VideoAnswer:
        """Return the state of a video, and its statistics once it is done."""
        return videos.job(key).answer()

    @router.delete("/{key}", status_code=204)
    async def delete(key: str) -> None:
        """Delete a video and its results; the work on it ends."""
        await asyncio.to_thread(videos.delete(key).delete)

    for name in FILES:
        _add_file(router, videos, name)
    return router


def _add_file(router: APIRouter, videos: Videos, name: str) -> None:
    path, media_type = FILES[name]
    responses: dict[int | str, dict[str, Any]] = {
        200: {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}},
        409: _problem("The video is not done, or failed."),
    }

    @router.get(f"/{{key}}/{name}", name=name, response_class=FileResponse, responses=responses)
    async def fetch(key: str) -> FileResponse:
        """Return a result, as `mien predict` writes it."""
        job = videos.job(key)
        if job.state == "failed":
            raise Problem("video-failed", f"the video failed: {job.error}")
        if job.state != "done":
            raise Problem("not-done", f"the video is {job.state}, {job.done:,} frames are read; try again later")
        return FileResponse(job.folder / path, media_type=media_type, filename=name)


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemAnswer"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}
