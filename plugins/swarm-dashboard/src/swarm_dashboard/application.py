"""The routes: the page, its files, the run as one document, and a stream of what is new."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from swarm_dashboard.feed import Feed

if TYPE_CHECKING:
    from starlette.requests import Request

PAGE = Path(__file__).parent / "page"
MOST_STREAMS = 32
"""Browsers that follow at a time."""
ALIVE = 5.0
"""Seconds without news after which a stream says when peers were asked last."""


def application(feed: Feed, saved: Sequence[Path] = ()) -> Starlette:
    """The page of what ``feed`` follows, or of ``saved`` files instead."""
    streams: set[object] = set()

    async def page(_request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def run(_request: Request) -> Response:
        headers = {"Content-Disposition": 'attachment; filename="swarm-run.json"'}
        return JSONResponse(feed.history.since(0), headers=headers)

    def stored(_request: Request) -> Response:
        return Response(b"[%s]" % b",".join(file.read_bytes() for file in saved), media_type="application/json")

    async def events(request: Request) -> Response:
        if len(streams) >= MOST_STREAMS:
            return PlainTextResponse(f"{MOST_STREAMS} browsers follow this page already.", 503)
        return StreamingResponse(_stream(request.headers.get("last-event-id", "")), media_type="text/event-stream")

    async def _stream(last: str) -> AsyncIterator[str]:
        me = object()
        streams.add(me)
        try:
            known = _known(last, feed.history.id)
            while True:
                news = feed.history.since(known)
                yield f"id: {news['id']}-{news['version']}\ndata: {json.dumps(news)}\n\n"
                known = news["version"]
                if feed.over:
                    return
                while not await feed.changed(known, ALIVE):
                    yield f"event: alive\ndata: {feed.history.time}\n\n"
        finally:
            streams.discard(me)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/run.json", run),
            Route("/saved.json", stored),
            Route("/events", events),
            Mount("/page", StaticFiles(directory=PAGE)),
        ]
    )


def _known(last: str, run: str) -> int:
    """The version that a browser knows, which has seen the event ``last``; 0 if that was of another history."""
    of, _, version = last.partition("-")
    return int(version) if of == run and version.isascii() and version.isdecimal() and len(version) < 16 else 0
