"""What stands between the network and the routes: size, token, host, and errors as one sentence."""

from __future__ import annotations

import hmac
import logging
import re
import time
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from desa2va.program import error_line, one_line

from .engine import QueueFullError, StoppedError
from .metrics import Metrics
from .sessions import BusyError, TooManyError, UnknownSessionError
from .waiting import ClientGoneError

_LOG = logging.getLogger("desa2va.serving")
_OPEN_ROUTES = ("/health",)
_STATUS_ROUTES = ("/health", "/metrics")
_FULL = "too many requests wait already; try again later"


class Guard:
    """ASGI middleware: refuses what is too large or has no token, before anything of it is read; counts the rest.

    Args:
        app: the routes. metrics: where requests are counted. body_bytes: largest request. requests: most that are read
            and answered at the same time, since each holds its body. token: `None` for none.
        hosts: names under which the service may be asked for, `None` for any. A page of the web whose name was made to
            lead to this machine asks under that name.
    """

    def __init__(
        self,
        app: Any,
        metrics: Metrics,
        body_bytes: int,
        requests: int,
        token: str | None,
        hosts: tuple[str, ...] | None = None,
    ) -> None:
        self.app, self.metrics, self.body_bytes, self.requests, self.hosts = app, metrics, body_bytes, requests, hosts
        self._open = 0
        self.token = None if token is None else token.encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.monotonic(), 499  # of a client that went away before an answer began

        async def noted(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._open += 1
        try:
            if refused := self._refusal(scope):
                await refused(scope, receive, noted)
            else:
                await self.app(scope, self._counted(receive), noted)
        finally:
            self._open -= 1
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.count(route, status, time.monotonic() - begun)

    def _refusal(self, scope: dict[str, Any]) -> JSONResponse | None:
        headers = dict(scope["headers"])
        if self.hosts is not None and host_of(scope) not in self.hosts:
            return problem(421, f"this service is asked for as {self.hosts[0]}")
        if self.token is not None and scope["path"] not in _OPEN_ROUTES:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + self.token):
                return problem(401, "this service wants its token: Authorization: Bearer ...")
        if self._open > self.requests and scope["path"] not in _STATUS_ROUTES:
            return problem(429, _FULL, **{"Retry-After": "1"})
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self.body_bytes:
            return self._too_large()
        # A page of the web can send any other kind of content to this machine without being asked whether it may.
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if scope["method"] in ("POST", "PUT", "PATCH") and kind != b"application/json":
            return problem(415, "requests are JSON: Content-Type: application/json")
        return None

    def _too_large(self) -> JSONResponse:
        return problem(413, f"the request is larger than {self.body_bytes} bytes; send a smaller picture or video")

    def _counted(self, receive: Any) -> Any:
        """`receive` that ends a body without a stated length where it becomes too large."""
        size = 0

        async def counted() -> Any:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.body_bytes:
                raise HTTPException(413, f"the request is larger than {self.body_bytes} bytes")
            return message

        return counted


def host_of(scope: dict[str, Any]) -> str:
    """The name under which a request asks for this machine, without a port."""
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    return re.sub(r":\d*$", "", host).strip("[]")


def problem(status: int, sentence: str, **headers: str) -> JSONResponse:
    """An error as every client gets it."""
    return JSONResponse({"error": sentence}, status, headers=headers)


def add_error_handlers(app: FastAPI) -> None:
    """Turns whatever a route raises into a status and one sentence."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StarletteHTTPException, _stated)
    app.add_exception_handler(QueueFullError, _queue_full)
    for kind, status in ((BusyError, 409), (UnknownSessionError, 404), (StoppedError, 503), (ClientGoneError, 499)):
        app.add_exception_handler(kind, _answer_with(status, {}))
    app.add_exception_handler(TooManyError, _answer_with(429, {"Retry-After": "10"}))
    app.add_exception_handler(Exception, _failed)
    for kind in (ValueError, TypeError, OSError, RuntimeError):  # else the server logs them as its own faults
        app.add_exception_handler(kind, _failed)


def _answer_with(status: int, headers: dict[str, str]) -> Any:
    def answer(_: Request, error: Exception) -> JSONResponse:
        return problem(status, str(error), **headers)

    return answer


def _queue_full(_: Request, error: QueueFullError) -> JSONResponse:
    return problem(429, _FULL, **{"Retry-After": str(error.seconds)})


def _stated(_: Request, error: StarletteHTTPException) -> JSONResponse:
    return problem(error.status_code, str(error.detail))


def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """The first complaint, with its field; of a union the one that came furthest."""
    first = max(error.errors(), key=lambda entry: (entry["type"] == "extra_forbidden", len(entry["loc"])))
    if first["type"] == "json_invalid":
        return problem(400, f"the body is no JSON: {first.get('ctx', {}).get('error', 'it can not be read')}")
    # Of a union each alternative has a part of its own in the place; a client knows names and numbers alone.
    known = [str(part) for part in first["loc"][1:] if str(part).replace("_", "").isalnum()]
    field = ".".join(known) or "the body"
    return problem(422, f"{field:.100}: {first['msg'][0].lower()}{first['msg'][1:200]}")


def _failed(request: Request, error: Exception) -> JSONResponse:
    """What a request can cause is told; what the machine lacks, or a fault, stays in the log with its details."""
    if isinstance(error, ValueError):
        return problem(400, one_line(error))
    _LOG.error("%s failed", request.url.path, exc_info=error)
    if error_line(error) is not None and not isinstance(error, (TypeError, ImportError)):
        return problem(503, "the service ran out of memory or disk; send something smaller, or try again later")
    return problem(500, "something went wrong in the service; its log says what")


__all__ = ["Guard", "add_error_handlers", "host_of", "problem"]
