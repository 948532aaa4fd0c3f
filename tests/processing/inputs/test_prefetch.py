"""Items made in advance on a thread that must never outlive its reader."""

import threading
import time

import pytest

from desa2va.processing.inputs.prefetch import prefetch


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "desa2va-prefetch"]


def test_items_come_in_order_and_the_thread_ends_with_them():
    """A thread per video that stays behind keeps a file and frames open."""
    assert list(prefetch(iter(range(50)), depth=3)) == list(range(50))
    assert list(prefetch([], depth=1)) == []
    assert not threads()


def test_no_more_than_the_depth_is_made_in_advance():
    """A queue without bound would decode a whole video into memory while the model works on its first frame."""
    made = []

    def items():
        for number in range(100):
            made.append(number)
            yield number

    ahead = prefetch(items(), depth=4)
    assert next(ahead) == 0
    deadline = time.monotonic() + 5
    while len(made) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(made) == 6  # one given, four waiting, one in the making
    ahead.close()
    assert not threads()


def test_closing_ends_the_thread_and_closes_the_items_there():
    closed = []

    def items():
        try:
            yield from range(1000)
        finally:
            closed.append(threading.current_thread().name)

    ahead = prefetch(items(), depth=2)
    next(ahead)
    ahead.close()
    assert closed == ["desa2va-prefetch"]
    assert not threads()


def test_errors_travel_after_the_items_before_them():
    """A broken file must be the reader's error, not a silent end of the video."""

    def items():
        yield 1
        raise OSError("broken file")

    ahead = prefetch(items(), depth=5)
    assert next(ahead) == 1
    with pytest.raises(OSError, match="broken file"):
        next(ahead)
    assert not threads()


def test_depth_is_checked():
    with pytest.raises(ValueError, match="depth=0"):
        prefetch([1], depth=0)
