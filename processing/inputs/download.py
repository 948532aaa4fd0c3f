"""Pictures and videos behind an http(s) address, within a time and a size.

In: an address. Out: its bytes in a file, or one `ValueError` that names the address without what may be secret in it.
A server may be mute, drip, never end or send anything: the connection is shut down when its time is over, wherever it
is stuck. (Engineering; no paper section.)
"""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import IO, Any

STALL_SECONDS = 30  # in which not a byte comes
TOTAL_SECONDS = 300
_CHUNK_BYTES = 1024 * 1024


def is_url(source: Any) -> bool:
    """Whether a source is an http or https address."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def shown_url(url: str) -> str:
    """An address as messages, results and sessions name it: without user, password, query and fragment."""
    plain = re.split(r"[?#]", re.sub(r"//[^/?#]*@", "//", url), maxsplit=1)[0]
    return plain.encode("ascii", "backslashreplace").decode("ascii")


def download(url: str, target: IO[bytes], max_bytes: int, label: str = "") -> None:
    """Writes what an address holds to a file that is open for writing.

    Args:
        url: http or https.
        target: receives the bytes.
        max_bytes: more are refused.
        label: what errors call it; `shown_url` when omitted.

    Raises:
        ValueError: a malformed address, a server that fails, stalls or takes longer than `TOTAL_SECONDS`, or more than
            `max_bytes`.
    """
    label = label or shown_url(url)
    if re.search(r"[^\x21-\x7e]", url) or re.search(r"//[^/?#]*@", url):
        raise ValueError(
            f"{label}: an address holds no spaces, letters beyond ASCII (write them as %20, %C3%A9), user or password"
        )
    with _Watch(TOTAL_SECONDS) as watch:
        try:
            reason = _copy(url, target, max_bytes, watch)
        except (OSError, HTTPException, ValueError, LookupError) as error:
            reason = str(error) or type(error).__name__
    if watch.over:
        reason = f"not complete after {TOTAL_SECONDS} seconds"
    if reason:
        raise ValueError(f"{label}: could not be downloaded ({reason:.200})")


def _copy(url: str, target: IO[bytes], max_bytes: int, watch: _Watch) -> str:
    """Copies what comes; why it is not all that was to come, else an empty text."""
    size = 0
    with _opener(watch).open(url, timeout=min(STALL_SECONDS, TOTAL_SECONDS)) as response:
        while chunk := response.read1(_CHUNK_BYTES):
            size += len(chunk)
            if size > max_bytes:
                return f"larger than {max_bytes} bytes"
            target.write(chunk)
        expected = response.headers.get("Content-Length", "")
    incomplete = expected.isdecimal() and int(expected[:20]) != size
    return f"{size} of {expected:.20} bytes came" if incomplete else ""


class _Watch:
    """Shuts the connections of one download down when `seconds` are over; `over` says that they were."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def add(self, connection: socket.socket) -> None:
        """Watches a connection; its duplicate stays valid when TLS takes the original over."""
        self._sockets.append(connection.dup())
        if self.over:
            self._end()

    def _end(self) -> None:
        self.over = True
        for connection in list(self._sockets):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has ended already

    def __enter__(self) -> _Watch:
        self._timer.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._timer.cancel()
        self._timer.join()
        for connection in self._sockets:
            connection.close()


def _opener(watch: _Watch) -> urllib.request.OpenerDirector:
    """Follows redirects and proxies as urllib does, on watched connections."""

    class Watched(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            watch.add(self.sock)

    class WatchedTls(HTTPSConnection, Watched):  # in this order TLS begins on a connection that is watched
        pass

    class Handler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Watched, request)

    class TlsHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(WatchedTls, request)

    return urllib.request.build_opener(Handler, TlsHandler)


__all__ = ["download", "is_url", "shown_url"]
