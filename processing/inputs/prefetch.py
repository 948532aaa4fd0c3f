"""Work ahead on a thread: the next frames are decoded and resized while the model computes.

In: any iterator. Out: a generator over the same items, of which a bounded number is made in advance (METHOD section 6:
every frame is read once, and a long video costs time, not memory).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")

# A source that blocks (a camera between two frames) can not be interrupted; its thread is left to end by itself.
JOIN_SECONDS = 2.0
_POLL_SECONDS = 0.05
_END = object()


def prefetch(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Runs `items` on a daemon thread, at most `depth` items ahead.

    The thread starts with the first item asked for and ends with the items, with an error, or when this generator is
    closed; `items` is closed on that thread, if it can be.

    Args:
        items: run on the thread from its first to its last item. What it raises is raised here, in its place.
        depth: items that wait at the most, at least 1; one more may be in the making.

    Raises:
        ValueError: `depth` below 1.
    """
    if depth < 1:
        raise ValueError(f"depth={depth}: at least one item must be able to wait")
    return _consume(items, depth)


def _consume(items: Iterable[Item], depth: int) -> Iterator[Item]:
    waiting: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, waiting, stopped), name="desa2va-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
            # Not kept until the next one arrives: a frame is large.
            del item
    finally:
        stopped.set()
        thread.join(JOIN_SECONDS)


def _produce(items: Iterable[Any], waiting: queue.Queue, stopped: threading.Event) -> None:
    """The thread: puts `(item, None)`, and at the end `(_END, None)` or `(None, error)`, unless `stopped`."""
    iterator, last = None, (_END, None)
    try:
        iterator = iter(items)
        for item in iterator:
            if not _put(waiting, (item, None), stopped):
                break
    except BaseException as error:  # noqa: BLE001  (raised again by the reader)
        last = (None, error)
    try:
        if hasattr(iterator, "close"):
            iterator.close()
    except BaseException as error:  # noqa: BLE001
        last = (None, error)
    _put(waiting, last, stopped)


def _put(waiting: queue.Queue, entry: tuple[Any, Any], stopped: threading.Event) -> bool:
    """Waits for a free place; false where nobody reads any more."""
    while not stopped.is_set():
        try:
            waiting.put(entry, timeout=_POLL_SECONDS)
        except queue.Full:
            continue
        return True
    return False


__all__ = ["prefetch"]
