"""Live sessions: frames of a camera by WebSocket, expressions back. See docs/guides/web.md for the messages."""

from __future__ import annotations

import json
import struct
from typing import Any

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from mien.live import Live
from mien.sinks.records import record
from mien.sources.pictures import decode
from mien.structures import Frame
from mien.web.engine import Engine
from mien.web.settings import Choice

PROTOCOL = "mien.live.1"
HEAD = struct.Struct("<Id")  # number and time in seconds, before the picture
CREDIT = 2  # frames under way


def routes(engine: Engine) -> APIRouter:
    """Return the route of live sessions."""
    router = APIRouter(prefix="/v1")

    @router.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept(subprotocol=PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)
        try:
            start = await socket.receive_json()
            recognizer = await engine.run(engine.recognizer, Choice(model=start.get("model")))
            session = Live(recognizer)
            await _send(socket, {"type": "ready", "model": recognizer.provenance.model,
                                 "labels": list(recognizer.provenance.labels), "credit": CREDIT})  # fmt: skip
            while True:
                data = await socket.receive_bytes()
                number, time = HEAD.unpack_from(data)
                await _send(socket, await engine.run(_see, session, data[HEAD.size :], number, time))
        except WebSocketDisconnect:
            pass

    return router


async def _send(socket: WebSocket, message: dict[str, Any]) -> None:
    await socket.send_text(json.dumps(message, ensure_ascii=False))


def _see(session: Live, data: bytes, number: int, time: float) -> dict[str, Any]:
    image = decode(data, name=f"frame {number}")
    result = session.see(Frame(image, time, number, "live"))
    height, width = image.shape[:2]
    seen = record(result.frame, result.expressions, session.recognizer.provenance)
    ms = {stage: round(1000 * seconds, 2) for stage, seconds in result.seconds.items()}
    return {"type": "seen", "number": number, "width": width, "height": height, **seen, "ms": ms}
