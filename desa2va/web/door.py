"""Whose a file is: an uploaded or drawn file is given to the browser alone that was told its address.

What enters: the requests of all browsers. What leaves: the same, less those for files of others. gradio keeps the
files of everybody in one folder, and gives them to whoever asks. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from desa2va.serving.guard import host_of
from desa2va.serving.limits import Limits

_COOKIE = "desa2va"
_ROOT = r"/gradio_api"
_LONGEST_PATH = 4096


class Door:
    """ASGI middleware that keeps visitors out of each other's files.

    A browser is known by a cookie with a random number. It may read, and name in a step, the files whose addresses
    it was sent. When its last page is closed they are removed.

    Args:
        app: the page. folder: where gradio keeps files, each in a folder named by a checksum. limits: `body_bytes` is
            that of a request which is no upload, `session_seconds` the age at which any file goes.
        hosts: names under which the page may be asked for, `None` for any. A page of the web whose name was made to
            lead to this machine asks under that name.
    """

    def __init__(self, app: Any, folder: str, limits: Limits, hosts: tuple[str, ...] | None = None) -> None:
        self.app, self.body_bytes, self.seconds, self.hosts = app, limits.body_bytes, limits.session_seconds, hosts
        self.folder = Path(folder).resolve()
        place = re.escape(self.folder.name) + r"/+([0-9a-f]{64})/"
        self._place = re.compile(place)
        # As a value, or as what changed. Quotes inside a text are escaped: what is typed does not look like this.
        self._sent = re.compile(rf'"path"(?::|\],)\s*"[^"]*{place}'.encode())
        self._uploaded = re.compile(rf'"[^"]*{place}'.encode())
        self._told: dict[str, set[str]] = {}
        self._num_told = 0
        self._pages: dict[str, int] = {}
        self._swept = 0.0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self._sweep()
        request = Request(scope)
        given = request.cookies.get(_COOKIE, "")
        visitor = given if re.fullmatch(r"[\w-]{32}", given) else secrets.token_urlsafe(24)
        body = None
        if scope["method"] == "POST" and not _is(scope, "upload"):
            body = await self._body(receive)
            receive = _again(body, receive)
        if (refused := self._refusal(scope, visitor, body)) is not None:
            await refused(scope, receive, send)
            return

        async def told(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and visitor != given:
                secure = "; Secure" if request.url.scheme == "https" else ""
                cookie = f"{_COOKIE}={visitor}; Path=/; HttpOnly; SameSite=Lax{secure}"
                message = {**message, "headers": [*message["headers"], (b"set-cookie", cookie.encode())]}
            if not _is(scope, "file"):
                self._tell(visitor, (self._uploaded if _is(scope, "upload") else self._sent), message.get("body", b""))
            await send(message)

        if _is(scope, "heartbeat"):  # is open as long as the page is
            await self._stay(visitor, self.app(scope, receive, told))
        else:
            await self.app(scope, receive, told)

    def _refusal(self, scope: dict[str, Any], visitor: str, body: bytes | None) -> PlainTextResponse | None:
        if self.hosts is not None and host_of(scope) not in self.hosts:
            return PlainTextResponse(f"This page is asked for as {self.hosts[0]}.", 421)
        if body is not None and len(body) > self.body_bytes:
            return PlainTextResponse(f"The request is larger than {self.body_bytes} bytes.", 413)
        try:
            texts = list(_texts(json.loads(body or b"null")))
        except (ValueError, RecursionError):
            return PlainTextResponse("The request is no JSON.", 400)
        told = self._told.get(visitor, set())
        named = [places for text in texts if (places := self._places(text)) is not None]
        if _is(scope, "file"):  # nothing but these files is given out, though gradio would fetch addresses
            named.append(self._places(re.split("file[=/]", scope["path"], maxsplit=1)[1]) or {""})
        if any(places - told for places in named):
            return PlainTextResponse("There is no such file.", 404)
        return None

    def _places(self, text: str) -> set[str] | None:
        """Which folders of files a text names; with `""` where it leads to others; `None`: it has nothing to do."""
        path = text if len(text) < _LONGEST_PATH and "\0" not in text else ""
        if self.folder.name not in text and not Path(os.path.realpath(path)).is_relative_to(self.folder):
            return None
        places = set(self._place.findall(text))
        return places if places and ".." not in text else {""}

    def _tell(self, visitor: str, pattern: re.Pattern[bytes], body: bytes) -> None:
        """Notes the files whose addresses are sent; forgets those that are gone now and then."""
        if places := {place.decode() for place in pattern.findall(body)}:
            self._told.setdefault(visitor, set()).update(places)
            self._num_told += 1
            if self._num_told % 1000 == 0:
                left = {who: {one for one in own if (self.folder / one).exists()} for who, own in self._told.items()}
                self._told = {who: own for who, own in left.items() if own}

    async def _stay(self, visitor: str, page: Any) -> None:
        """Waits for the end of a page; with the last one of a visitor the files go that nobody else was told of."""
        self._pages[visitor] = self._pages.get(visitor, 0) + 1
        try:
            await page
        finally:
            self._pages[visitor] -= 1
            if not self._pages[visitor]:
                del self._pages[visitor]
                own = self._told.pop(visitor, set())
                for place in own.difference(*self._told.values()):
                    shutil.rmtree(self.folder / place, ignore_errors=True)

    def _sweep(self) -> None:
        """Removes what is old: nobody may have been told of it, as of an upload that was not completed."""
        now = time.time()
        if now < self._swept + min(60.0, self.seconds):
            return
        self._swept = now
        for entry in self.folder.iterdir():
            with suppress(OSError):  # a file may go while it is looked at
                files = [entry, *entry.iterdir()] if entry.is_dir() else [entry]
                if max(file.stat().st_mtime for file in files) < now - self.seconds:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    async def _body(self, receive: Any) -> bytes:
        """The whole body, or as much of it as shows that it is too large."""
        body, more = b"", True
        while more and len(body) <= self.body_bytes:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        return body


def _is(scope: dict[str, Any], route: str) -> bool:
    return re.search(rf"{_ROOT}/{route}([=/]|$)", scope["path"]) is not None


def _again(body: bytes, receive: Any) -> Any:
    """`receive` that gives a body once more which was read."""
    read = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return read.pop() if read else await receive()

    return again


def _texts(value: Any) -> Iterator[str]:
    """All texts in JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


__all__ = ["Door"]
