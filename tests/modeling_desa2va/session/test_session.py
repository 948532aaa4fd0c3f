"""The interactive session as a user drives it, on a made clip with the shipped model."""

import gc
import glob
import os
import tempfile
import threading
from itertools import combinations

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.session.file import read_session
from desa2va.modeling_desa2va.session.session import DeSa2VASession
from desa2va.training.data.refshapes.dataset import RefShapes

LENGTH = 10


@pytest.fixture(scope="module")
def tiny(shipped):
    return shipped


@pytest.fixture(scope="module")
def clip():
    """Frames, and the masks (T, H, W) of two objects that are always visible and never close to each other."""
    dataset = RefShapes(
        "test", level="full", video_fraction=1.0, num_frames=LENGTH, length=20, kinds={"attribute": 1.0}
    )
    for sample in (dataset[index] for index in range(1, 20)):
        shapes = np.asarray(sample.scene["instance_map"])
        visible = [number for number in range(1, shapes.max() + 1) if (shapes == number).sum(axis=(1, 2)).min() > 60]
        for pair in combinations([shapes == number for number in visible], 2):
            ways = [np.subtract(*(centre(mask[frame]) for mask in pair)) for frame in range(LENGTH)]
            if np.linalg.norm(ways, axis=1).min() > 40:
                return list(sample.frames), list(pair)
    raise AssertionError("no clip with two visible objects")


@pytest.fixture
def session(tiny, clip):
    with DeSa2VASession(*tiny, clip[0]) as session:
        yield session


def iou(first, second):
    union = (first | second).sum()
    return 1.0 if not union else (first & second).sum() / union


def centre(mask):
    """The pixel of a mask that is nearest to its middle, as a point."""
    rows, columns = mask.nonzero()
    middle = ((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2).argmin()
    return [columns[middle] + 0.5, rows[middle] + 0.5]


def codes(session, number=0):
    """Every result of one object: mask code, scores, everything."""
    found = [entry for frame in range(LENGTH) for entry in session.result(frame).objects if entry.object_id == number]
    return [(entry.code, entry.iou_score, entry.object_score, entry.status) for entry in found]


def mean_iou(session, truth, frames, number=0):
    found = [next(o for o in session.result(frame).objects if o.object_id == number).mask for frame in frames]
    return np.mean([iou(mask, truth[frame]) for mask, frame in zip(found, frames, strict=True)])


def test_a_click_helps_from_its_frame_on_and_leaves_earlier_ones_alone(session, clip):
    """The session follows the wrong object until a click on the right one."""
    _, (right, wrong) = clip
    session.add(masks=wrong[0])
    list(session.propagate())
    before, later = codes(session), range(4, LENGTH)
    poor = mean_iou(session, right, later)
    changed = session.correct(0, 4, points=[[*centre(right[4]), 1], [*centre(wrong[4]), 0]])
    assert (changed.object_id, changed.status) == (0, "ok")
    assert iou(changed.mask, right[4]) > 0.6
    assert [result.frame for result in session.propagate()] == list(later)
    assert codes(session)[:4] == before[:4]
    assert mean_iou(session, right, later) > poor + 0.3
    list(session.propagate(direction="backward"))
    assert codes(session)[1:4] != before[1:4]
    assert codes(session)[0] == before[0]  # prompted by the user


def test_boxes_and_masks_correct_too(session, clip):
    _, (right, wrong) = clip
    session.add(masks=wrong[0])
    list(session.propagate())
    rows, columns = right[3].nonzero()
    session.correct(0, 3, box=[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    session.correct(0, 6, mask=right[6])
    assert iou(session.result(3).objects[0].mask, right[3]) > 0.5
    assert iou(session.result(6).objects[0].mask, right[6]) > 0.8  # the mask as given, at the logits' low resolution
    list(session.propagate())
    assert mean_iou(session, right, range(6, LENGTH)) > 0.6
    assert session.objects[0].prompted_frames == [0, 3, 6]


def test_undo_restores_everything(session, clip):
    """Masks, scores, prompts, what waits, and the memory: what is propagated afterwards is what it would have been."""
    _, (first, second) = clip
    session.add(masks=first[0], name="first")
    list(session.propagate())
    whole = codes(session)
    states = []
    for edit in (
        lambda: session.correct(0, 5, points=[centre(second[5])]),
        lambda: session.add(points=[centre(second[2])], frame=2),
        lambda: session.remove(0),
    ):
        states.append((session.objects, codes(session)))
        edit()
        if session.objects:
            list(session.propagate())
    while states:
        session.undo()
        assert (session.objects, codes(session)) == states.pop()
    list(session.propagate(start=3))
    assert codes(session) == whole
    session.undo()
    assert session.objects == {}
    with pytest.raises(ValueError, match="nothing to undo"):
        session.undo()


def test_objects_come_and_go_at_any_time(session, clip):
    """A new object is walked alone; the others' results stay bit for bit, before and after it is removed."""
    _, (first, second) = clip
    session.add(masks=first[0])
    for result in session.propagate():
        if result.frame == 5:
            break
    before = codes(session)
    assert len(before) == 6
    (number,) = session.add(boxes=[10, 10, 60, 60], frame=3)
    assert session.objects[number].pending
    order = [result.frame for result in session.propagate(objects=number)]
    assert order == [*range(3, LENGTH), 2, 1, 0]
    assert codes(session) == before
    assert [len(session.result(frame).objects) for frame in (0, 5, 6)] == [2, 2, 1]
    session.remove(number)
    assert codes(session) == before
    assert session.add(masks=second[0]) == [number + 1]
    assert [result.frame for result in session.propagate()] == list(range(LENGTH))
    assert not any(entry.pending for entry in session.objects.values())
    assert list(session.propagate()) == []


def test_words_start_objects_as_generate_finds_them(session, tiny, clip):
    """Key frames, the masks kept there, thresholds and tracker are those of the whole model."""
    model, processor = tiny
    numbers = session.add(text="the circle", key_frames=[0, 4, 9])
    list(session.propagate())
    inputs = processor(videos=[clip[0]], text="the circle", task="segment", key_frames=[0, 4, 9])
    (expected,) = processor.post_process(model.generate(**inputs, max_new_tokens=128), inputs)
    assert numbers == session.last_answer.object_ids == [entry.object_id for entry in expected.objects]
    assert session.last_answer.raw_text == expected.raw_text
    for number, entry in zip(numbers, expected.objects, strict=True):
        same = [code == other for (code, *_), other in zip(codes(session, number), entry.codes, strict=True)]
        assert np.mean(same) > 0.8  # memories are made of rounded logits
        assert [entry.frame for entry in [session.result(0)]] == [0]
    result = session.results()
    assert (result.num_frames, len(result.objects), result.status) == (LENGTH, len(numbers), "ok")


def test_what_words_denied_on_a_key_frame_stays_denied(session, tiny, clip, monkeypatch, tmp_path):
    """Guards per-frame absence, as `generate` and `stream` have it: the tracker only carries a mask onto the frame."""
    model, processor = tiny
    ask = model.answer_key_frames

    def one_frame_without_it(**inputs):
        answer = ask(**inputs)
        answer.visuals[0].masks.object_score[:, 1] = -3.0
        return answer

    monkeypatch.setattr(model, "answer_key_frames", one_frame_without_it)
    number = session.add(text="the circle", key_frames=[0, 4, 9])[0]
    list(session.propagate())
    (denied,) = [entry for entry in session.result(4).objects if entry.object_id == number]
    score = denied.object_score
    assert score == pytest.approx(float(torch.tensor(-3.0).sigmoid()))
    assert (denied.mask.any(), denied.status) == (False, "no_target")
    assert all(codes(session, number)[frame][2] > 0.5 for frame in (0, 9))
    session.save(tmp_path / "kept")
    with DeSa2VASession.load(tmp_path / "kept", model, processor, clip[0]) as again:
        assert codes(again, number) == codes(session, number)
    assert read_session(tmp_path / "kept").codes()[number][4] is None

    session.correct(number, 2, points=[centre(clip[1][0][2])])  # a person knows better, from there on
    list(session.propagate())
    assert codes(session, number)[4][2] != score
    session.undo()
    assert codes(session, number)[4][2] == score


def test_the_model_may_choose_the_key_frames(session):
    numbers = session.add(text="the circle", key_frames="auto")
    assert numbers
    assert set(session.objects[numbers[0]].prompted_frames) <= set(range(LENGTH))
    with pytest.raises(ValueError, match="key_frames='best' is unknown"):
        session.add(text="the circle", key_frames="best")


def test_words_that_find_nothing_say_why(session, tiny):
    """An empty list alone would leave the user in the dark; and nothing may have changed."""
    model, _ = tiny
    session.add(boxes=[10, 10, 60, 60])
    threshold, model.config.object_score_threshold = model.config.object_score_threshold, 1000.0
    try:
        assert session.add(text="the circle") == []
        assert session.last_answer.status == "no_target"
        assert "highest object score" in session.last_answer.reason
        assert session.correct(0, 3, text="the circle") is None
    finally:
        model.config.object_score_threshold = threshold
    assert list(session.objects) == [0]
    assert session.objects[0].prompted_frames == [0]


def test_words_correct_one_frame(session, clip):
    session.add(boxes=[10, 10, 60, 60])
    list(session.propagate())
    before = codes(session)
    found = session.correct(0, 6, text="the circle")
    assert session.objects[0].prompted_frames == ([0, 6] if found else [0])
    assert codes(session)[:6] == before[:6]


def test_directions_and_start(session, clip):
    """Which frames are walked when the user says so, and what then still waits."""
    session.add(masks=clip[1][0][4], frame=4)

    def walk(**options):
        return [result.frame for result in session.propagate(**options)]

    assert walk(direction="forward") == list(range(4, LENGTH))
    assert walk() == [3, 2, 1, 0]
    assert walk() == []
    assert walk(direction="backward") == [4, 3, 2, 1, 0]
    assert walk(start=7) == [7, 8, 9]
    assert walk(start=2, direction="both") == [*range(2, LENGTH), 1, 0]
    session.correct(0, 6, points=[[40, 40]])
    assert next(session.propagate(direction="both")).frame == 6
    assert walk() == [7, 8, 9, 5, 4, 3, 2, 1, 0]


def test_an_edit_ends_a_running_walk(session, clip):
    """Going on with the memory from before the edit would silently give results that the edit does not show in."""
    session.add(masks=clip[1][0][0])
    walk = session.propagate()
    next(walk)
    session.correct(0, 0, points=[[40, 40]])
    with pytest.raises(RuntimeError, match="call propagate again"):
        next(walk)
    assert [result.frame for result in session.propagate()] == list(range(LENGTH))


def test_a_failed_edit_leaves_no_trace(session, clip, monkeypatch):
    session.add(masks=clip[1][0][0])
    before, state = codes(session), session.objects
    append = session._core.memory.store.append
    monkeypatch.setattr(session._core.memory.store, "append", lambda data: (append(data), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        session.add(boxes=[[10, 10, 60, 60], [20, 20, 50, 50]])
    with pytest.raises(ZeroDivisionError):
        session.correct(0, 0, points=[[40, 40]])
    monkeypatch.undo()
    assert (codes(session), session.objects) == (before, state)
    assert session.add(boxes=[10, 10, 60, 60]) == [1]


def test_closing_gives_everything_back(tiny, clip):
    """File, threads and tensors go, also those of a walk that waits; every later call says why it fails."""

    def use():
        session = DeSa2VASession(*tiny, clip[0])
        session.add(masks=clip[1][0][0])
        walk = session.propagate()
        next(walk)
        session.close()
        session.close()
        assert list(walk) == []
        return session

    def tensors():
        gc.collect()
        return sum(1 for entry in gc.get_objects() if isinstance(entry, torch.Tensor))

    def files():
        return set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()

    use()  # what libraries keep after their first call is not ours
    before = tensors(), threading.active_count(), files()
    session = use()
    assert (tensors(), threading.active_count(), files()) == before
    with pytest.raises(ValueError, match="closed"):
        session.result(0)
    assert not glob.glob(os.path.join(tempfile.gettempdir(), "desa2va-session-*"))


def test_clear_starts_over(session, clip):
    session.add(masks=clip[1][0][0])
    list(session.propagate())
    session.clear()
    assert session.objects == {}
    assert session.result(0).objects == []
    assert session.add(masks=clip[1][0][0]) == [0]


MISTAKES = {
    "one kind": (lambda s: s.add(), "one kind of prompt"),
    "two kinds": (lambda s: s.add(text="a dog", boxes=[1, 1, 5, 5]), "one kind of prompt"),
    "outside": (lambda s: s.add(points=[[500, 3]]), r"frame 0: point \(500, 3\) lies outside"),
    "frame": (lambda s: s.add(boxes=[1, 1, 5, 5], frame=LENGTH), f"frame {LENGTH} is not in video.*0 to {LENGTH - 1}"),
    "empty mask": (lambda s: s.add(masks=np.zeros((128, 128))), "frame 0: mask 0 has no pixel"),
    "beside only": (lambda s: s.add(points=[[5, 5, 0]]), "at least one click on it"),
    "key frames": (lambda s: s.add(boxes=[1, 1, 5, 5], key_frames=[0]), "goes with text"),
    "unknown": (lambda s: s.correct(7, 0, points=[[5, 5]]), "no object 7; the session has: 0"),
    "no prompt": (lambda s: s.correct(0, 0), "one kind of prompt"),
    "correct outside": (lambda s: s.correct(0, 2, points=[[-1, 5]]), "frame 2: point.*outside"),
    "correct frame": (lambda s: s.correct(0, -1, points=[[5, 5]]), "frame -1 is not in"),
    "two objects": (lambda s: s.correct(0, 0, box=[[1, 1, 5, 5], [2, 2, 6, 6]]), "one object, these mark 2"),
    "twice": (lambda s: [s.remove(0), s.remove(0)], "no object 0 any more"),
    "direction": (lambda s: s.propagate(direction="up"), "direction='up' is unknown"),
    "start": (lambda s: s.propagate(start=99), "frame 99 is not in"),
    "propagate": (lambda s: s.propagate(objects=[0, 3]), "no object 3"),
    "result": (lambda s: s.result(99), "frame 99 is not in"),
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_mistakes_are_named(session, mistake):
    call, message = MISTAKES[mistake]
    session.add(boxes=[10, 10, 60, 60])
    with pytest.raises(ValueError, match=message):
        call(session)


def test_nothing_to_propagate(session):
    with pytest.raises(ValueError, match="no objects"):
        session.propagate()


def test_training_mode_is_refused(make_model, processor, clip):
    with pytest.raises(ValueError, match="eval mode"):
        DeSa2VASession(make_model().train(), processor, clip[0])


def test_a_video_of_one_frame(tiny):
    """Nothing is left to be walked on a still GIF; words, clicks and corrections work all the same."""
    frames = np.random.default_rng(0).integers(0, 255, (1, 72, 96, 3), np.uint8)
    with DeSa2VASession(*tiny, frames) as session:
        session.add(text="the red circle")
        (number,) = session.add(points=[[30, 30]])
        assert [result.frame for result in session.propagate()] == [0]
        session.correct(number, 0, points=[[5, 5, 0]])
        assert [result.frame for result in session.propagate(direction="both")] == [0]
        assert session.results().num_frames == 1
