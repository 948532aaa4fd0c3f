"""The routes of the service. Each checks its request, hands work to the engine, and says what came of it.

What enters: an engine and its limits. What leaves: an ASGI application. (Engineering; no paper section.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from desa2va import __version__
from desa2va.processing.results import collect_frames

from .engine import Engine, Question
from .guard import Guard, add_error_handlers
from .limits import Limits
from .media import open_video, read_picture
from .metrics import Metrics
from .schema import Answer, PictureRequest, Problem, VideoRequest
from .session_routes import session_router
from .sessions import SessionStore
from .waiting import each_step, wait_for

_PROBLEMS: dict[int | str, Any] = {
    status: {"model": Problem} for status in (400, 401, 413, 415, 422, 429, 500, 503, 504)
}


def create_app(
    engine: Engine, limits: Limits | None = None, token: str | None = None, hosts: tuple[str, ...] | None = None
) -> FastAPI:
    """The application around an engine, which ends with it.

    Args:
        engine: the model and its line. limits: what is granted. token: that every request but `/health` has to bring.
        hosts: names under which it may be asked for; any when omitted.
    """
    limits = Limits() if limits is None else limits
    sessions = SessionStore(limits.sessions, limits.session_seconds)
    metrics = Metrics(_gauges(engine, sessions))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        cleaner = asyncio.create_task(_expire(sessions))
        try:
            yield
        finally:
            cleaner.cancel()
            await asyncio.to_thread(engine.close)
            sessions.close_all()

    app = _routed(engine, limits, sessions, metrics, lifespan=lifespan)
    app.state.sessions = sessions
    add_error_handlers(app)
    most = limits.queue + limits.batch + limits.sessions
    app.add_middleware(Guard, metrics=metrics, body_bytes=limits.body_bytes, requests=most, token=token, hosts=hosts)
    return app


def published_schema() -> dict[str, Any]:
    """OpenAPI's description of all requests and answers, with their JSON schema."""
    return _routed(None, Limits(), None, None).openapi()


def _routed(engine: Any, limits: Limits, sessions: Any, metrics: Any, **options: Any) -> FastAPI:
    app = FastAPI(title="DeSa2VA", version=__version__, docs_url=None, redoc_url=None, **options)
    app.include_router(_status_router(engine, metrics))
    app.include_router(_question_router(engine, limits, sessions), responses=_PROBLEMS)
    app.include_router(session_router(engine, limits, sessions), responses=_PROBLEMS)
    return app


async def _expire(sessions: SessionStore) -> None:
    """Closes sessions that nobody used, though no request comes that would notice."""
    while True:
        await asyncio.sleep(min(30.0, sessions.seconds))
        await asyncio.to_thread(sessions.expire)


def _gauges(engine: Engine, sessions: SessionStore) -> dict[str, Any]:
    cache = engine.cache
    return {
        "queue_depth": ("Pieces of work that wait.", lambda: engine.depth),
        "videos_open": ("Sessions and single videos.", lambda: len(sessions)),
        "batches_total": ("Passes of questions through the model.", lambda: engine.num_batches),
        "questions_total": ("Questions answered in them.", lambda: engine.num_questions),
        "encoded_total": ("Pictures or tiles that went through an encoder.", lambda: cache.encoded),
        "reused_total": ("Encodings that were at hand.", lambda: cache.reused),
        "cache_bytes": ("Encodings that are kept.", lambda: cache.num_bytes),
    }


def _status_router(engine: Engine, metrics: Metrics) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    async def health() -> JSONResponse:
        """Whether the model answers: 200, or 503."""
        return JSONResponse({"status": "ok" if engine.alive else "ending"}, 200 if engine.alive else 503)

    @router.get("/metrics")
    async def counted() -> PlainTextResponse:
        """Counts in the text format of Prometheus."""
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    return router


def _question_router(engine: Engine, limits: Limits, sessions: SessionStore) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/picture", response_model=Answer)
    async def picture(asked: PictureRequest, request: Request) -> JSONResponse:
        """Masks and words about one picture."""
        check_asked(asked, limits, bool(asked.points or asked.boxes))
        image = await asyncio.to_thread(read_picture, asked.image, limits)
        prompts = {name: value for name in ("points", "boxes") if (value := getattr(asked, name)) is not None}
        question = Question(image, asked.texts, asked.task, prompts, asked.max_new_tokens)
        done = await wait_for(engine.ask(question), request, limits.request_seconds)
        names = ("queued", "computed", "batch", "encoded", "reused")
        timings = {name: getattr(done, name) for name in names}
        return JSONResponse({"results": [result.to_dict() for result in done.results], "timings": timings})

    @router.post("/video", response_model=Answer)
    async def video(asked: VideoRequest, request: Request) -> JSONResponse:
        """Masks and words about every frame of one video."""
        check_asked(asked, limits, False)
        loop = asyncio.get_running_loop()
        with sessions.place():
            source = await asyncio.to_thread(open_video, asked.video, limits)
            begun = loop.time()
            results = await _whole_video(engine, source, asked, request, limits.request_seconds)
        timings = {"queued": 0.0, "computed": loop.time() - begun, "batch": 1, "encoded": len(source), "reused": 0}
        return JSONResponse({"results": [result.to_dict() for result in results], "timings": timings})

    return router


async def _whole_video(engine: Engine, source: Any, asked: VideoRequest, request: Request, seconds: float) -> list:
    """The results of a video, which others overtake after every frame."""
    answers: list[Any] = []

    def walk() -> Any:
        keys = {} if asked.key_frames is None else {"key_frames": asked.key_frames}
        texts = {"task": asked.task, "max_new_tokens": asked.max_new_tokens}
        with engine.model.stream(source, asked.texts, engine.processor, **texts, **keys) as stream:
            answers.extend(stream.answers)
            yield from stream

    steps = each_step(engine, walk(), request, seconds, bounded=True)
    frames = [frame async for frame in steps]
    return await asyncio.to_thread(collect_frames, frames, answers, source)


def check_asked(asked: PictureRequest | VideoRequest, limits: Limits, marked: bool) -> None:
    """Raises `ValueError` for what can be seen without the picture."""
    if asked.texts is None and not marked:
        raise ValueError("text: is missing; say what is asked")
    if len(asked.texts or []) > limits.texts:
        raise ValueError(f"text: {len(asked.texts)} questions, and at most {limits.texts} are taken in one request")
    if asked.max_new_tokens > limits.new_tokens:
        raise ValueError(f"max_new_tokens: {asked.max_new_tokens}, and at most {limits.new_tokens} are granted")


__all__ = ["create_app", "published_schema"]
