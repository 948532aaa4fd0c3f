"""The routes of sessions: open a video, add objects, track, look, correct, take back (docs/sessions.md over HTTP)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import ExitStack, aclosing, suppress
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse

from desa2va.modeling_desa2va.session import DeSa2VASession
from desa2va.processing.files import decode_mask

from .engine import Engine
from .limits import Limits
from .media import open_video
from .schema import Add, Correct, EditOut, FrameOut, OpenSession, Propagate, Remove, SessionOut
from .sessions import SessionStore
from .waiting import ClientGoneError, each_step, wait_for


class _Desk:
    """Where the routes meet engine, limits and sessions."""

    def __init__(self, engine: Engine, limits: Limits, sessions: SessionStore) -> None:
        self.engine, self.limits, self.sessions = engine, limits, sessions

    async def open(self, content: str, request: Request) -> dict[str, Any]:
        """Opens a video and says what it is."""
        with self.sessions.place() as place:
            source = await asyncio.to_thread(open_video, content, self.limits)
            opening = self.engine.call(lambda: DeSa2VASession(self.engine.model, self.engine.processor, source))
            try:
                session = await wait_for(opening, request, self.limits.request_seconds)
            except BaseException:
                opening.add_done_callback(_close_opened)
                raise
            return self.shown(place.keep(session), session)

    async def within(self, key: str, request: Request, work: Callable[[Any], Any]) -> JSONResponse:
        """What `work` makes of a session, in the model's thread; nobody else has the session meanwhile.

        The session is held until the work has ended, also where its client went away before.
        """
        held = ExitStack()
        session = held.enter_context(self.sessions.use(key))
        try:
            future = self.engine.call(lambda: work(session))
        except BaseException:
            held.close()
            raise
        future.add_done_callback(lambda _: held.close())
        return JSONResponse(await wait_for(future, request, self.limits.request_seconds))

    async def lines(self, key: str, request: Request, asked: Propagate) -> AsyncIterator[bytes]:
        """The frames that are tracked, as lines. The first is there already, so what can not be meant has shown."""
        held = ExitStack()
        session = held.enter_context(self.sessions.use(key))
        seconds = self.limits.request_seconds
        try:
            options = {name: getattr(asked, name) for name in ("objects", "start", "direction")}
            opening = self.engine.call(lambda: session.propagate(**options))
            steps = await wait_for(opening, request, seconds)
        except BaseException:
            held.close()
            raise
        lines = _lines(self.engine, steps, request, seconds, held)
        # Begun here: a generator that nobody ever began would not give the session back.
        return _chain(await anext(lines, b""), lines)

    def shown(self, key: str, session: Any) -> dict[str, Any]:
        """What a session is."""
        video = session.video
        size = {"num_frames": len(video), "height": video.height, "width": video.width, "fps": video.fps}
        objects = [asdict(entry) for entry in session.objects.values()]
        return {"session": key, **size, "expires_after": self.limits.session_seconds, "objects": objects}


def session_router(engine: Engine, limits: Limits, sessions: SessionStore) -> APIRouter:
    """The routes below `/v1/sessions`."""
    router, desk = APIRouter(prefix="/v1/sessions"), _Desk(engine, limits, sessions)
    _add_session_routes(router, desk)
    _add_edit_routes(router, desk)
    return router


def _add_session_routes(router: APIRouter, desk: _Desk) -> None:
    """Open, look, track, close."""

    @router.post("", response_model=SessionOut, status_code=201)
    async def open_session(asked: OpenSession, request: Request) -> JSONResponse:
        """Opens a video; the answer has the key of the session."""
        return JSONResponse(await desk.open(asked.video, request), 201)

    @router.get("/{key}", response_model=SessionOut)
    async def show(key: str, request: Request) -> JSONResponse:
        """The objects of a session."""
        return await desk.within(key, request, lambda session: desk.shown(key, session))

    @router.delete("/{key}", status_code=204, response_model=None)
    async def close(key: str) -> None:
        """Closes a session and frees what it holds."""
        await asyncio.to_thread(desk.sessions.close, key)

    @router.get("/{key}/frames/{frame}", response_model=FrameOut)
    async def frame_of(key: str, frame: int, request: Request) -> JSONResponse:
        """One frame with every object that was tracked or prompted there."""
        return await desk.within(key, request, lambda session: session.result(frame).to_dict())

    @router.post("/{key}/propagate", response_model=FrameOut)
    async def propagate(key: str, asked: Propagate, request: Request) -> StreamingResponse:
        """Tracks what waits: one line of JSON per frame, as it is done. Whoever leaves early goes on with another
        call.
        """
        return StreamingResponse(await desk.lines(key, request, asked), media_type="application/x-ndjson")


def _add_edit_routes(router: APIRouter, desk: _Desk) -> None:
    """Add, correct, remove, take back."""

    @router.post("/{key}/add", response_model=EditOut)
    async def add(key: str, asked: Add, request: Request) -> JSONResponse:
        """New objects, by words, or by points, a box or a mask on one frame."""
        return await desk.within(key, request, lambda session: _add(session, asked))

    @router.post("/{key}/correct", response_model=EditOut)
    async def correct(key: str, asked: Correct, request: Request) -> JSONResponse:
        """A correction of one object on one frame; `propagate` carries it on."""
        return await desk.within(key, request, lambda session: _correct(session, asked))

    @router.post("/{key}/remove", response_model=SessionOut)
    async def remove(key: str, asked: Remove, request: Request) -> JSONResponse:
        """Takes an object out."""

        def work(session: Any) -> dict[str, Any]:
            session.remove(asked.object_id)
            return desk.shown(key, session)

        return await desk.within(key, request, work)

    @router.delete("/{key}/last", response_model=SessionOut)
    async def undo(key: str, request: Request) -> JSONResponse:
        """Takes the last edit back."""

        def work(session: Any) -> dict[str, Any]:
            session.undo()
            return desk.shown(key, session)

        return await desk.within(key, request, work)


async def _lines(
    engine: Engine, steps: Any, request: Request, seconds: float, held: ExitStack
) -> AsyncIterator[bytes]:
    """Frames as lines; an error half-way is the last line."""
    with held, suppress(ClientGoneError):
        try:
            async with aclosing(each_step(engine, steps, request, seconds)) as frames:
                async for frame in frames:
                    yield json.dumps(frame.to_dict()).encode() + b"\n"
        except (ValueError, OSError, RuntimeError, HTTPException) as error:
            known = {ValueError: str(error), HTTPException: getattr(error, "detail", "")}
            told = next((text for kind, text in known.items() if isinstance(error, kind)), "the service failed here")
            yield json.dumps({"error": told}).encode() + b"\n"


async def _chain(first: bytes, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(lines):
        yield first
        async for line in lines:
            yield line


def _close_opened(opening: Future) -> None:
    """Closes a session that was opened for nobody."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _add(session: Any, asked: Add) -> dict[str, Any]:
    mask = None if asked.mask is None else decode_mask(asked.mask.model_dump())
    numbers = session.add(
        asked.text, asked.points, asked.box, mask, asked.frame, asked.name, key_frames=asked.key_frames
    )
    frame = session.objects[numbers[0]].prompted_frames[0] if numbers else None
    return _told(session, numbers, frame, asked.text is not None)


def _correct(session: Any, asked: Correct) -> dict[str, Any]:
    mask = None if asked.mask is None else decode_mask(asked.mask.model_dump())
    found = session.correct(asked.object_id, asked.frame, asked.points, asked.box, mask, asked.text)
    return _told(session, [] if found is None else [asked.object_id], asked.frame, asked.text is not None)


def _told(session: Any, numbers: list[int], frame: int | None, words: bool) -> dict[str, Any]:
    said = session.last_answer if words else None
    answer = None if said is None else {"text": said.text, "status": said.status, "reason": said.reason}
    shown = None if frame is None else session.result(frame).to_dict()
    return {"objects": numbers, "answer": answer, "frame": shown}


__all__ = ["session_router"]
