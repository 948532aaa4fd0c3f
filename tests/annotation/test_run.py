"""A run: every masklet through all steps, nothing asked twice, nothing lost."""

import pytest

from desa2va.annotation.asks import Unanswered
from desa2va.annotation.masklets import find_sources
from desa2va.annotation.measured import MeasuringDescriber
from desa2va.annotation.prompts import read_prompts
from desa2va.annotation.run import Run, describe_all
from desa2va.annotation.stages import STEPS
from desa2va.eval.benchmarks.processes import Processes
from tests.annotation.layouts import write_palettes

NAMES = ("a", "b", "c")


class Counting(MeasuringDescriber):
    """Counts what it is asked, can fall silent and can be killed."""

    def __init__(self):
        self.asked, self.batches, self.killed_at, self.silent = [], [], None, ()

    def answers(self, asks):
        self.batches.append([(ask.key, ask.step) for ask in asks])
        for group in super().answers(asks):
            if self.killed_at is not None and len(self.batches) > self.killed_at:
                raise KeyboardInterrupt
            for place, ask in enumerate(asks):
                if (ask.key[0], ask.step) in self.silent:
                    group[place] = Unanswered("nobody is there")
                else:
                    self.asked.append((ask.key, ask.step))
            yield group


@pytest.fixture
def sources(tmp_path):
    for name in NAMES:
        videos, masks = write_palettes(tmp_path, name)
    return find_sources(videos, masks)


def run_of(sources, folder, describer, batch_size=2):
    folder.mkdir(exist_ok=True)
    return Run(sources, read_prompts(), describer, describer, batch_size, folder)


def everything(sources):
    return {((name, str(k)), step) for name in NAMES for k in (1, 2) for step in STEPS}


def test_all_steps_of_all_masklets(sources, tmp_path):
    who = Counting()
    run = run_of(sources, tmp_path / "out", who)
    outcome = describe_all(run)
    assert sorted(who.asked) == sorted(everything(sources))
    assert (outcome.asked, outcome.unanswered) == (36, {})
    said = run.answers().of(("b", "1"))
    assert said["video"].text == (
        "The red object is in the upper left of the picture and covers 8 percent of it. "
        "In the course of the video it moves to the right."
    )
    assert said["short"].text == "the red object that moves to the right"
    assert [said[step].frames for step in STEPS] == [[0], [0], [], [0], [0, 1, 2, 3, 4, 5], []]
    assert {len(batch) for batch in who.batches} == {2}
    describe_all(run)
    assert len(who.asked) == 36


def test_a_killed_run_asks_the_same_batches(sources, tmp_path):
    """What a model says of one ask may depend, in its last bits, on those beside it."""
    whole, broken = Counting(), Counting()
    describe_all(run_of(sources, tmp_path / "whole", whole))
    for moment in (0, 1, 4, 3, 2):
        broken.killed_at = len(broken.batches) + moment
        with pytest.raises(KeyboardInterrupt):
            describe_all(run_of(sources, tmp_path / "broken", broken))
    broken.killed_at = None
    assert all(batch in whole.batches for batch in broken.batches)
    describe_all(run_of(sources, tmp_path / "broken", broken))
    assert sorted(broken.asked) == sorted(everything(sources))
    told = [run_of(sources, tmp_path / name, Counting()).answers() for name in ("whole", "broken")]
    for key in {key for key, _ in everything(sources)}:
        assert told[0].of(key) == told[1].of(key)


def test_what_gets_no_answer_waits_for_the_next_run(sources, tmp_path):
    """An endpoint that is away for a while must not cost an object, nor may the object's later steps be asked."""
    who = Counting()
    who.silent = {("b", "scene")}
    run = run_of(sources, tmp_path / "out", who)
    outcome = describe_all(run)
    assert outcome.unanswered == dict.fromkeys([("b", "1"), ("b", "2")], "scene: nobody is there")
    assert run.answers().next_step(("b", "1")) == "scene"
    assert outcome.asked == 36 - 6
    who.silent = ()
    assert describe_all(run).asked == 6
    assert sorted(who.asked) == sorted(everything(sources))


def test_processes_share_the_units(sources, tmp_path):
    found = [Counting(), Counting()]
    for rank, who in enumerate(found):
        describe_all(run_of(sources, tmp_path / "out", who), Processes(rank, 2))
    assert sorted(found[0].asked + found[1].asked) == sorted(everything(sources))
    assert {key[0] for key, _ in found[1].asked} == {"c"}
    last = Counting()
    describe_all(run_of(sources, tmp_path / "out", last), Processes(0, 1))
    assert not last.asked


def test_a_frame_that_can_not_be_read_drops_its_object(sources, tmp_path):
    broken = sources[1].video / "00010.png"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    run = run_of(sources, tmp_path / "out", Counting())
    describe_all(run)
    answers = run.answers()
    assert answers.dropped(("b", "1")).startswith("video: a frame can not be read")
    assert answers.next_step(("a", "1")) is None
    assert answers.dropped(("a", "1")) is None
