"""The engine: one line, batches of those who wait, nobody harmed by another."""

import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest

from desa2va.serving import engine as engine_module
from desa2va.serving.engine import Engine, Question, QueueFullError, StoppedError


@pytest.fixture
def engine(model, processor):
    engine = Engine(model, processor, queue=4, batch=3)
    yield engine
    engine.close()


@pytest.fixture
def picture(scenes):
    return np.asarray(scenes[0].frames[0])


def question(picture, text="the red circle", **more):
    return Question(picture, [text], max_new_tokens=4, **more)


class Gate:
    """Keeps the engine's thread busy until it is opened."""

    def __init__(self, engine):
        self._open, begun = threading.Event(), threading.Event()
        self.future = engine.call(lambda: (begun.set(), self._open.wait(30)))
        assert begun.wait(30)

    def open(self):
        self._open.set()


def test_questions_that_wait_together_are_answered_together_and_each_gets_its_own(engine, scenes, model, processor):
    """A batch that hands the answers out in another order gives a client the masks of another's picture."""
    pictures = [np.asarray(scenes[number].frames[0]) for number in range(3)]
    alone = [engine.ask(question(picture)).result(60).results[0] for picture in pictures]
    gate = Gate(engine)
    futures = [engine.ask(question(picture)) for picture in pictures]
    gate.open()
    answers = [future.result(60) for future in futures]
    assert [answer.batch for answer in answers] == [3, 3, 3]
    for answer, single in zip(answers, alone, strict=True):
        assert answer.results[0].raw_text == single.raw_text
        assert [entry.codes for entry in answer.results[0].objects] == [entry.codes for entry in single.objects]


def test_a_second_question_about_the_same_picture_encodes_nothing(engine, picture):
    """The image encoders are most of the work."""
    assert engine.ask(question(picture)).result(60).encoded > 0
    again = engine.ask(question(picture, "the ring")).result(60)
    assert again.encoded == 0
    assert again.reused > 0


def test_no_batch_is_larger_than_allowed_and_other_settings_wait(engine, picture):
    """Memory is sized for the batch; and one client's longest answer is not another's."""
    gate = Gate(engine)
    several = Question(picture, ["the ring", "the star"], max_new_tokens=4)
    longer = Question(picture, ["the ring"], max_new_tokens=5)
    marked = Question(picture, None, prompts={"points": [[5.0, 5.0]]})
    futures = [engine.ask(entry) for entry in (several, longer, several, marked)]
    gate.open()
    answers = [future.result(60) for future in futures]
    assert [answer.batch for answer in answers] == [1, 1, 1, 1]
    assert [len(answer.results) for answer in answers] == [2, 1, 2, 1]


def test_a_full_line_is_refused_with_a_time_and_who_left_holds_no_place(engine, picture):
    """Without a bound a burst of requests is a service that answers nobody any more."""
    gate = Gate(engine)
    futures = [engine.ask(question(picture)) for _ in range(4)]
    with pytest.raises(QueueFullError) as refused:
        engine.ask(question(picture))
    assert 1 <= refused.value.seconds <= 60
    engine.call(lambda: None, bounded=False)
    futures[0].cancel()
    futures[1].cancel()
    futures.append(engine.ask(question(picture)))
    gate.open()
    assert all(future.result(60).results for future in futures[2:])
    with pytest.raises(CancelledError):
        futures[0].result(1)


def test_one_bad_question_does_not_harm_those_it_waited_with(engine, picture, monkeypatch):
    """Clients do not know whom they share a batch with."""
    plain = engine_module.answer_questions

    def fails(model, processor, questions):
        if any("bad" in entry.texts for entry in questions):
            raise ValueError("a bad question")
        return plain(model, processor, questions)

    monkeypatch.setattr(engine_module, "answer_questions", fails)
    gate = Gate(engine)
    good, bad = engine.ask(question(picture)), engine.ask(question(picture, "bad"))
    gate.open()
    assert good.result(60).results
    with pytest.raises(ValueError, match="a bad question"):
        bad.result(60)
    assert engine.ask(question(picture)).result(60).results


def test_other_work_keeps_its_place_in_the_line(engine, picture):
    """Frames of a video and questions take turns, in the order in which they came."""
    order = []
    gate = Gate(engine)
    engine.call(lambda: order.append("frame"))
    engine.ask(question(picture)).add_done_callback(lambda _: order.append("question"))
    last = engine.call(lambda: order.append("next frame"))
    gate.open()
    last.result(60)
    assert order == ["frame", "question", "next frame"]


def test_who_waits_at_the_end_is_told(model, processor, picture):
    """A future that nobody ever fills is a client that waits until its own time-out."""
    engine = Engine(model, processor)
    gate = Gate(engine)
    waiting = engine.ask(question(picture))
    closing = threading.Thread(target=engine.close)
    closing.start()
    with pytest.raises(StoppedError):
        waiting.result(30)
    gate.open()
    closing.join(30)
    assert not engine.alive
    with pytest.raises(StoppedError):
        engine.ask(question(picture))


def test_memory_of_the_cache_is_bounded(model, processor, scenes):
    """Two thousand pictures must not be two thousand encodings."""
    engine = Engine(model, processor, cache_bytes=3_000_000)
    try:
        for scene in scenes:
            engine.ask(question(np.asarray(scene.frames[0]))).result(60)
        assert 0 < engine.cache.num_bytes <= 3_000_000
        assert engine.cache.encoded == 2 * len(scenes)
    finally:
        engine.close()
