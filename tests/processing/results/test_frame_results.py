from types import SimpleNamespace

import numpy as np
import pytest
import torch

from desa2va.processing.files.mask_cleanup import MaskOptions
from desa2va.processing.inputs.video_io import MemorySource
from desa2va.processing.results.answer_text import ParsedAnswer
from desa2va.processing.results.frame_collection import collect_frames
from desa2va.processing.results.frame_results import FrameResult, ObjectLabel, frame_result


def prediction(logits, scores, iou=0.5):
    """What a tracker gives for the n objects of a frame."""
    return SimpleNamespace(
        logits=logits, iou=torch.full((len(logits),), iou), object_score=torch.tensor(scores, dtype=torch.float32)
    )


def blob(rows, columns):
    """Logits (8, 8): +4 inside, -4 outside."""
    logits = torch.full((8, 8), -4.0)
    logits[rows, columns] = 4.0
    return logits


@pytest.fixture
def clip(picture):
    return MemorySource([picture] * 3, "clip", fps=4.0)


def upper_half():
    return blob(slice(0, 4), slice(0, 8))


def test_every_object_has_mask_scores_and_status():
    """A blank mask without a word why is what users of trackers trip over."""
    logits = torch.stack([upper_half(), upper_half(), blob(slice(0, 0), slice(0, 0))])
    labels = [ObjectLabel(0, "the sky", 0, 0.9), ObjectLabel(1), ObjectLabel(7, request=1)]
    result = frame_result(3, 0.75, (20, 30), prediction(logits, [2.0, -1.0, 1.0]), labels)
    there, absent, blank = result.objects
    assert (there.status, absent.status, blank.status) == ("ok", "no_target", "empty_mask")
    assert (there.area, there.box) == (300, (0, 0, 30, 10))
    assert (absent.area, absent.box, absent.mask.shape) == (0, None, (20, 30))
    assert (there.phrase, there.seg_probability, blank.object_id, blank.request) == ("the sky", 0.9, 7, 1)
    assert there.object_score == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)
    assert (result.frame, result.timestamp, result.height, result.width) == (3, 0.75, 20, 30)


def test_labels_must_belong_to_the_objects():
    with pytest.raises(ValueError, match="1 labels for 2 objects"):
        frame_result(0, 0.0, (8, 8), prediction(torch.zeros(2, 8, 8), [1.0, 1.0]), [ObjectLabel(0)])


def test_logits_at_source_size_on_request_only():
    made = prediction(upper_half()[None], [1.0])
    kept = frame_result(0, 0.0, (20, 30), made, [ObjectLabel(0)], MaskOptions(keep_logits=True)).objects[0]
    logits = kept.source_logits()
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits > 0, kept.mask)
    with pytest.raises(ValueError, match="keep_logits=True"):
        frame_result(0, 0.0, (20, 30), made, [ObjectLabel(0)]).objects[0].source_logits()


def test_plain_types_and_back(picture):
    """What is written as a line of JSON must be the whole result."""
    result = frame_result(
        1, 0.5, (20, 30), prediction(upper_half()[None], [1.0]), [ObjectLabel(4, "sky")], None, picture
    )
    data = result.to_dict()
    assert data["objects"][0]["box"] == (0, 0, 30, 10)
    assert "image" not in data
    assert FrameResult.from_dict(data).to_dict() == data


def test_plot_needs_a_picture(picture):
    result = frame_result(1, 0.5, (20, 30), prediction(upper_half()[None], [1.0]), [ObjectLabel(4, "sky")])
    drawn = result.plot(picture)
    assert (drawn[:10] != picture[:10]).any()
    np.testing.assert_array_equal(drawn[18:], picture[18:])
    with pytest.raises(ValueError, match="frame 1 holds no picture"):
        result.plot()


@pytest.mark.parametrize("options", [{}, {"non_overlapping": True, "max_hole_area": 9, "max_speckle_area": 9}])
def test_collected_frames_equal_post_processing(tiny, picture, options):
    """Frame by frame or as a whole: the same masks, scores, phrases, statuses and reasons, in any order of frames."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(3, 3, 8, 8, generator=generator)
    scores = torch.tensor([[2.0, -1.0, 0.5], [-3.0, -1.5, -2.0], [1.0, 1.0, 1.0]])
    texts = ["the red circle", "What is it?"]
    batch = tiny(videos=np.stack([picture] * 3), text=texts)
    answers = ["<p> red circle </p> [SEG] and [SEG]", "It [SEG]"]
    encoder = tiny.assembler.encoder
    rows = [[*encoder.answer(answer), tiny.tokenizer.eos_token_id] for answer in answers]
    longest = max(map(len, rows))
    outputs = SimpleNamespace(
        sequences=torch.tensor([row + [0] * (longest - len(row)) for row in rows]),
        object_sequence=torch.tensor([0, 0, 1]),
        seg_probability=torch.tensor([0.5, 0.25, 1.0]),
        track_logits=list(logits),
        track_iou=list(torch.rand(3, 3, generator=generator)),
        track_object_score=list(scores),
    )
    whole = tiny.post_process(outputs, batch, keep_logits=True, **options)
    labels = [ObjectLabel(number, None, number // 2, p) for number, p in enumerate([0.5, 0.25, 1.0])]
    labels = [
        ObjectLabel(number, whole[label.request].objects[number % 2].phrase, label.request, label.seg_probability)
        for number, label in enumerate(labels)
    ]
    made = [
        frame_result(
            t,
            float(t),
            (20, 30),
            SimpleNamespace(logits=logits[:, t], iou=torch.stack(outputs.track_iou)[:, t], object_score=scores[:, t]),
            labels,
            MaskOptions(keep_logits=True, **options),
        )
        for t in (1, 2, 0)
    ]
    said = [
        ParsedAnswer(result.text, result.raw_text, [entry.span for entry in result.objects], result.request)
        for result in whole
    ]
    collected = collect_frames(made, said, batch["visuals"][0].source)
    assert [result.to_dict() for result in collected] == [result.to_dict() for result in whole]
    torch.testing.assert_close(collected[0].objects[1].logits, whole[0].objects[1].logits, rtol=0, atol=0)


def test_an_object_added_late_counts_as_absent_before(clip):
    """In a session objects come and go; their masks must stay on their frames."""
    made = [frame_result(t, t / 4, (20, 30), prediction(upper_half()[None], [1.0]), [ObjectLabel(5)]) for t in (1, 2)]
    result = collect_frames([*made, FrameResult(0, 0.0, 20, 30, [])], [ParsedAnswer("sky")], clip)[0]
    assert (result.num_frames, result.fps, result.name, result.status) == (3, 4.0, "clip", "ok")
    assert (result.objects[0].object_id, result.objects[0].areas) == (5, [0, 300, 300])
    assert result.objects[0].object_scores[0] == 0.0


def test_missing_and_repeated_frames_are_refused(clip):
    """A hole in a stream shifts every later mask by one frame if nobody looks."""
    frames = [FrameResult(t, 0.0, 20, 30, []) for t in (0, 2)]
    with pytest.raises(ValueError, match="frame 1 is missing"):
        collect_frames(frames, [ParsedAnswer()], clip)
    with pytest.raises(ValueError, match="frame 2 .* comes twice"):
        collect_frames([*frames, frames[1]], [ParsedAnswer()], clip)
    answered = frame_result(0, 0.0, (20, 30), prediction(upper_half()[None], [1.0]), [ObjectLabel(0, request=1)])
    with pytest.raises(ValueError, match="answers request 1 of 1"):
        collect_frames([answered], [ParsedAnswer()], clip)


def test_half_precision_decides_no_pixel():
    """1000.1 is 1000 in half precision, which the threshold would have turned into background."""
    made = prediction(torch.full((1, 8, 8), 1000.1), [1.0])
    options = MaskOptions(mask_threshold=1000.05, keep_logits=True)
    (entry,) = frame_result(0, 0.0, (20, 30), made, [ObjectLabel(0)], options).objects
    assert entry.area == 600
    assert (entry.source_logits() > 1000.05).all()


def test_status_follows_the_mask_where_absent_objects_are_drawn():
    """Sa2VA draws what its object score denies: such a mask has pixels, so its status must not say there are none."""
    logits = torch.stack([upper_half(), blob(slice(0, 0), slice(0, 0))])
    made, options = prediction(logits, [-2.0, -2.0]), MaskOptions(empty_absent=False)
    drawn, blank = frame_result(0, 0.0, (20, 30), made, [ObjectLabel(0), ObjectLabel(1)], options).objects
    assert (drawn.status, drawn.area) == ("ok", 300)
    assert (blank.status, blank.area) == ("no_target", 0)
    emptied = frame_result(0, 0.0, (20, 30), made, [ObjectLabel(0), ObjectLabel(1)]).objects
    assert [entry.status for entry in emptied] == ["no_target", "no_target"]


@pytest.mark.parametrize(
    ("name", "message"), [("logits", "mask"), ("iou", "predicted IoU"), ("object_score", "score")]
)
def test_nan_is_an_error_and_not_an_absent_object(name, message):
    """No comparison holds for NaN, so broken weights read as "nothing found", with NaN in the files."""
    made = prediction(upper_half()[None], [1.0])
    getattr(made, name).flatten()[0] = float("nan")
    with pytest.raises(ValueError, match=f"frame 3: the {message} is not a number"):
        frame_result(3, 0.0, (20, 30), made, [ObjectLabel(0)])


def test_frames_of_different_options_are_not_put_together(clip):
    made = prediction(upper_half()[None], [1.0])
    frames = [
        frame_result(t, 0.0, (20, 30), made, [ObjectLabel(0)], MaskOptions(mask_threshold=float(t > 1)))
        for t in range(3)
    ]
    with pytest.raises(ValueError, match="frame 2 was made with"):
        collect_frames(frames, [ParsedAnswer()], clip)
    assert FrameResult.from_dict(frames[2].to_dict()).options.mask_threshold == 1.0
