"""A request that waits for the model: until its time is over, or its client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from fastapi import HTTPException, Request

from .engine import Engine, StoppedError

_LOOK_SECONDS = 0.5  # between two looks whether the client is still there


class ClientGoneError(Exception):
    """Nobody waits for the answer."""


async def wait_for(future: Future, request: Request, seconds: float) -> Any:
    """What `future` holds.

    Work that has not begun is taken out of the line where nobody waits for it any more; what has begun is finished.

    Raises:
        ClientGoneError: the connection was closed. HTTPException: the time is over.
    """
    task = asyncio.wrap_future(future)
    end = asyncio.get_running_loop().time() + seconds
    try:
        while not task.done():
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                raise HTTPException(504, f"not done after {seconds:g} seconds; ask for less, or later")
            await asyncio.wait([task], timeout=min(left, _LOOK_SECONDS))
            if not task.done() and await request.is_disconnected():
                raise ClientGoneError
        return task.result()
    finally:
        if not task.done():
            task.cancel()


async def each_step(
    engine: Engine, steps: Iterator[Any], request: Request, seconds: float, bounded: bool = False
) -> AsyncIterator[Any]:
    """What an iterator gives, each step a piece of work of its own at the end of the line.

    However it ends, the iterator is closed, in the model's thread, before this is over.

    Args:
        engine: does the steps. steps: with `close`. request: whose client waits. seconds: for each step.
        bounded: refuse the first step where the line is full.
    """
    try:
        while True:
            done = await wait_for(engine.call(_next_of(steps), bounded), request, seconds)
            if not done:
                return
            bounded = False
            yield done[0]
    finally:
        # Shielded: a request that is cancelled must not leave its video half open.
        with suppress(StoppedError):
            await asyncio.shield(asyncio.wrap_future(engine.call(steps.close, bounded=False)))


def _next_of(steps: Iterator[Any]) -> Callable[[], list[Any]]:
    """A call that gives the next entry in a list, which is empty at the end."""

    def step() -> list[Any]:
        for entry in steps:
            return [entry]
        return []

    return step


__all__ = ["ClientGoneError", "each_step", "wait_for"]
