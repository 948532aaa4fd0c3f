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


def session_router(engine: Engine, limits: Limits, sessions: SessionStore) -> APIRouter:
    """The routes below `/v1/sessions`."""
    router = APIRouter(prefix="/v1/sessions")

    async def within(key: str, request: Request, work: Callable[[Any], Any]) -> Any:
        """What `work` makes of a session, in the model's thread; nobody else has the session meanwhile.

        The session is held until the work has ended, also where its client went away before.
        """
        held = ExitStack()
        session = held.enter_context(sessions.use(key))
        try:
            future = engine.call(lambda: work(session))
        except BaseException:
            held.close()
            raise
        future.add_done_callback(lambda _: held.close())
        return await wait_for(future, request, limits.request_seconds)

    @router.post("", response_model=SessionOut, status_code=201)
    async def open_session(asked: OpenSession, request: Request) -> JSONResponse:
        """Opens a video; the answer has the key of the session."""
        with sessions.place() as place:
            source = await asyncio.to_thread(open_video, asked.video, limits)
            opening = engine.call(lambda: DeSa2VASession(engine.model, engine.processor, source))
            try:
                session = await wait_for(opening, request, limits.request_seconds)
            except BaseException:
                opening.add_done_callback(_close_opened)
                raise
            key = place.keep(session)
        return JSONResponse(_shown(key, session, limits), 201)

    @router.get("/{key}", response_model=SessionOut)
    async def show(key: str, request: Request) -> JSONResponse:
        """The objects of a session."""
        return JSONResponse(await within(key, request, lambda session: _shown(key, session, limits)))

    @router.delete("/{key}", status_code=204, response_model=None)
    async def close(key: str) -> None:
        """Closes a session and frees what it holds."""
        await asyncio.to_thread(sessions.close, key)

    @router.post("/{key}/add", response_model=EditOut)
    async def add(key: str, asked: Add, request: Request) -> JSONResponse:
        """New objects, by words, or by points, a box or a mask on one frame."""
        return JSONResponse(await within(key, request, lambda session: _add(session, asked)))

    @router.post("/{key}/correct", response_model=EditOut)
    async def correct(key: str, asked: Correct, request: Request) -> JSONResponse:
        """A correction of one object on one frame; `propagate` carries it on."""
        return JSONResponse(await within(key, request, lambda session: _correct(session, asked)))

    @router.post("/{key}/remove", response_model=SessionOut)
    async def remove(key: str, asked: Remove, request: Request) -> JSONResponse:
        """Takes an object out."""
        return JSONResponse(await within(key, request, lambda session: _edited(key, session, limits, asked)))

    @router.delete("/{key}/last", response_model=SessionOut)
    async def undo(key: str, request: Request) -> JSONResponse:
        """Takes the last edit back."""
        return JSONResponse(await within(key, request, lambda session: _edited(key, session, limits)))

    @router.get("/{key}/frames/{frame}", response_model=FrameOut)
    async def frame_of(key: str, frame: int, request: Request) -> JSONResponse:
        """One frame with every object that was tracked or prompted there."""
        return JSONResponse(await within(key, request, lambda session: session.result(frame).to_dict()))

    @router.post("/{key}/propagate", response_model=FrameOut)
    async def propagate(key: str, asked: Propagate, request: Request) -> StreamingResponse:
        """Tracks what waits: one line of JSON per frame, as it is done. Whoever leaves early goes on with another
        call.
        """
        held = ExitStack()
        session = held.enter_context(sessions.use(key))
        try:  # what is asked is checked before the answer begins
            options = {name: getattr(asked, name) for name in ("objects", "start", "direction")}
            opening = engine.call(lambda: session.propagate(**options))
            steps = await wait_for(opening, request, limits.request_seconds)
        except BaseException:
            held.close()
            raise
        lines = _lines(engine, steps, request, limits.request_seconds, held)
        # Begun here: a generator that nobody ever began would not give the session back.
        first = await anext(lines, b"")
        return StreamingResponse(_chain(first, lines), media_type="application/x-ndjson")

    return router


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


def _shown(key: str, session: Any, limits: Limits) -> dict[str, Any]:
    video = session.video
    objects = [asdict(entry) for entry in session.objects.values()]
    size = {"num_frames": len(video), "height": video.height, "width": video.width, "fps": video.fps}
    return {"session": key, **size, "expires_after": limits.session_seconds, "objects": objects}


def _edited(key: str, session: Any, limits: Limits, asked: Remove | None = None) -> dict[str, Any]:
    if asked is None:
        session.undo()
    else:
        session.remove(asked.object_id)
    return _shown(key, session, limits)


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
