"""Visitors beside each other: own work, bounded, stopped, expired."""

import time

import pytest

from desa2va.serving.engine import QueueFullError
from desa2va.serving.sessions import BusyError, TooManyError, UnknownSessionError
from desa2va.web.studio import Studio
from desa2va.web.visitors import sentence


def test_each_has_work_of_its_own(visit, demo):
    """What one finds is not on the other's page."""
    visitors = visit()
    visitors.open("a", demo / "scene.png")
    visitors.open("b", demo / "scene.png")
    folders = [visitors.work(name, lambda own: own.folder) for name in "ab"]
    assert len(visitors.work("a", lambda own: own.find("the red object")).objects) == 1
    assert visitors.work("b", Studio.show).objects == []
    assert folders[0] != folders[1]
    with pytest.raises(UnknownSessionError, match="open a picture"):
        visitors.work("c", Studio.show)


def test_places_are_bounded_and_given_back(visit, demo):
    """Whoever leaves, opens something else, or fails to open holds no place."""
    visitors = visit(sessions=1)
    visitors.open("a", demo / "scene.png")
    visitors.open("a", demo / "clip.mp4")
    with pytest.raises(TooManyError):
        visitors.open("b", demo / "scene.png")
    folder = visitors.work("a", lambda own: own.folder)
    visitors.leave("a")
    assert not folder.exists()
    with pytest.raises(ValueError, match="can not be read"):
        visitors.open("b", demo / "prompts.json")
    assert visitors.open("b", demo / "scene.png").num_frames == 1


def test_what_nobody_touched_is_freed_unasked(visit, demo):
    """Files of somebody who never came back would stay for ever."""
    visitors = visit(session_seconds=0.2)
    visitors.open("a", demo / "scene.png")
    folder = next(iter(visitors.store._entries.values())).session.folder
    for _ in range(100):
        if not folder.exists():
            break
        time.sleep(0.05)
    assert not folder.exists()
    with pytest.raises(UnknownSessionError):
        visitors.work("a", Studio.show)


def test_stop_ends_tracking_and_follow_goes_on(visit, demo):
    """What was tracked stays, and the next edit is not refused."""
    visitors = visit()
    length = visitors.open("a", demo / "clip.mp4").num_frames
    visitors.work("a", lambda own: own.find("the red object"))
    seen = []
    for done, view in visitors.propagate("a"):
        seen.append(view.said)
        if done == 2:
            with pytest.raises(BusyError):
                visitors.work("a", Studio.show)
            visitors.stop("a")
    assert seen[-1] == "Stopped after 2 frames; Follow goes on."
    assert visitors.work("a", Studio.show).objects[0].waits
    *_, (done, view) = visitors.propagate("a")
    assert done == length - 2
    assert not view.objects[0].waits
    assert visitors.work("a", Studio.undo).objects == []


def test_a_page_that_is_closed_while_it_tracks_gives_its_place_back(visit, demo):
    """The iterator of the page is dropped in the middle."""
    visitors = visit(sessions=1)
    visitors.open("a", demo / "clip.mp4")
    visitors.work("a", lambda own: own.find("the red object"))
    steps = visitors.propagate("a")
    next(steps)
    steps.close()
    visitors.leave("a")
    assert visitors.open("b", demo / "scene.png").frame == 0


def test_whoever_leaves_in_the_middle_leaves_no_files(visit, demo):
    """They stayed until nobody had touched them for long."""
    visitors = visit(sessions=1)
    visitors.open("a", demo / "clip.mp4")
    folder = visitors.work("a", lambda own: own.folder)
    visitors.work("a", lambda own: own.find("the red object"))
    steps = visitors.propagate("a")
    next(steps)
    visitors.leave("a")
    assert folder.exists()
    with pytest.raises(TooManyError):
        visitors.open("b", demo / "scene.png")
    said = [view.said for _, view in steps]
    assert said == ["Stopped after 1 frame; Follow goes on."]
    assert not folder.exists()
    assert visitors.open("b", demo / "scene.png").frame == 0


def test_a_second_step_does_not_take_the_stop_of_the_first(visit, demo):
    """After a second click on Follow, which is refused, Stop stopped nothing."""
    visitors = visit()
    visitors.open("a", demo / "clip.mp4")
    visitors.work("a", lambda own: own.find("the red object"))
    steps = visitors.propagate("a")
    next(steps)
    with pytest.raises(BusyError):
        next(visitors.propagate("a"))
    with pytest.raises(BusyError):
        visitors.ask("a", "what color is this?")
    visitors.stop("a")
    assert [view.said for _, view in steps] == ["Stopped after 1 frame; Follow goes on."]


def test_stop_ends_an_answer(visit, demo):
    """A long answer held its visitor until it was given up, and the model longer."""
    visitors = visit()
    visitors.open("a", demo / "scene.png")
    whole, _ = visitors.ask("a", "Describe the picture.")
    visitors.open("a", demo / "scene.png")
    words = iter([False, True])
    cut, _ = visitors.work("a", lambda own: own.ask("Describe the picture.", lambda: next(words)))
    assert cut != whole
    assert whole.startswith(cut)
    with visitors._stoppable("a") as stop:
        assert not stop.is_set()
    assert stop.is_set(), "nobody waits for it any more"


def test_a_step_that_takes_too_long_is_given_up(visit, demo):
    """And the work is not handed out while the step still runs."""
    visitors = visit(request_seconds=0.3)
    visitors.open("a", demo / "scene.png")
    with pytest.raises(RuntimeError, match="not done after 0.3 seconds"):
        visitors.work("a", lambda own: time.sleep(0.8))
    with pytest.raises(BusyError):
        visitors.work("a", Studio.show)


def test_errors_are_sentences():
    """A KeyError or a TypeError is a fault and no sentence."""
    assert sentence(ValueError("there is no object 3")) == "There is no object 3."
    assert sentence(UnknownSessionError("open a picture first")) == "Open a picture first."
    assert sentence(QueueFullError(7)) == "Many people ask at this moment; try again in 7 seconds."
    assert sentence(KeyError("x")) is None
    assert sentence(TypeError("x")) is None
