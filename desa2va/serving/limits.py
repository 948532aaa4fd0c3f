"""What a service grants to a request, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """What a service grants.

    Attributes:
        queue: most pieces of work that wait; more are refused with 429.
        batch: most questions that the model answers at once.
        cache_bytes: encodings of pictures that are kept.
        sessions: most videos that are open at the same time, sessions and single requests together.
        session_seconds: after which a session that nobody used is closed.
        request_seconds: after which a request is given up.
        body_bytes: largest request.
        pixels: largest picture, or frame of a video.
        frames: longest video.
        texts: most questions in one request.
        new_tokens: longest answer.
        files: folder whose files a request may name; none when `None`.
        urls: whether a request may name an address, which this machine then reads.
    """

    queue: int = 64
    batch: int = 8
    cache_bytes: int = 2**30
    sessions: int = 4
    session_seconds: float = 600.0
    request_seconds: float = 120.0
    body_bytes: int = 64 * 2**20
    pixels: int = 50_000_000
    frames: int = 1000
    texts: int = 16
    new_tokens: int = 1024
    files: Path | None = None
    urls: bool = False


__all__ = ["Limits"]
