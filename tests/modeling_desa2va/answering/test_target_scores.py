"""The calibrated no-target decision: what the score is made of, and that it holds wherever a result is read."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.modeling_desa2va.answering.target_scores import judge_targets
from desa2va.modeling_desa2va.session import DeSa2VASession
from desa2va.processing.results import FrameRecords, SegmentationResult, collect_frames, summarise

SEG, EOS = 6, 2
PICTURE = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)
# The score is the probability of the answer up to its [SEG] alone.
CALIBRATION = {"mark_probability": 1.0, "object_score": 0.0, "iou_score": 0.0, "bias": 0.0, "threshold": 0.5}


@pytest.fixture
def make_speaker(make_model):
    """A model that says one [SEG] with a given probability, `EOS` with the rest, then ends; calibrated or not."""

    def make(probability, calibration=CALIBRATION):
        model, steps = make_model(7), itertools.count()

        def speak(module, args, logits):
            logits = torch.full_like(logits, -1e4)
            if next(steps) % 2:
                return logits.index_fill(-1, torch.tensor([EOS]), 0.0)
            logits[..., SEG], logits[..., EOS] = np.log(probability), np.log(1 - probability)
            return logits

        model.mllm.lm_head.register_forward_hook(speak)
        model.config.object_score_threshold = model.config.mask_threshold = -1000.0  # random weights draw nothing
        model.config.target_calibration = calibration
        return model

    return make


def answer(marks, scores, ious, owners, num_sequences):
    """A `KeyFrameAnswer` of one visual, (O, K) scores."""
    masks = SimpleNamespace(object_score=torch.tensor(scores), iou=torch.tensor(ious))
    return SimpleNamespace(
        sequences=torch.zeros(num_sequences, 2),
        object_sequence=torch.tensor(owners),
        mark_probability=torch.tensor(marks),
        visuals=[SimpleNamespace(objects=[]), SimpleNamespace(objects=list(range(len(owners))), masks=masks)],
        target_evidence=None,
        target_score=None,
    )


def test_the_score_by_hand():
    """Request 0 has two objects, the highest of each count: logit(.5) = 0, score 2, IoU .5; -1 + 0 + .5 * 2 + 0 = 0.

    Request 1 marks nothing: 0, whatever the bias. Request 2: p = 1 must not become infinite.
    """
    said = answer([0.5, 0.25, 1.0], [[2.0, 1.0], [-3.0, -1.0], [0.0, 0.0]], [[0.5, 0.5]] * 3, [0, 0, 2], 3)
    weights = {"mark_probability": 1.0, "object_score": 0.5, "iou_score": 3.0, "bias": -1.0, "threshold": 0.1}
    judge_targets(said, weights)
    assert said.target_evidence.tolist() == [[0, 2, 0], [0, 0, 0], [16, 0, 0]]
    assert said.target_score.tolist() == pytest.approx([0.5, 0, torch.tensor(15.0).sigmoid().item()])
    judge_targets(said, None)
    assert said.target_evidence is not None


def test_mark_probability_is_that_of_the_whole_answer_up_to_the_seg(make_model, processor):
    """After "Sure, it is" a `[SEG]` is certain, also where "There" was nearly said: its own probability is no news."""
    model = make_model(3)
    inputs = processor(images=PICTURE, text="the star", task="segment")
    said = model.answer_key_frames(**inputs, max_new_tokens=5, output_logits=True)
    (place,) = (said.sequences[0] == SEG).nonzero()[0].tolist()
    steps = torch.stack(said.logits)[:, 0].float().log_softmax(-1)
    expected = sum(steps[step, token] for step, token in enumerate(said.sequences[0, : place + 1].tolist()))
    assert place > 0
    assert said.mark_probability[0].log().item() == pytest.approx(expected.item(), abs=1e-3)
    assert said.mark_probability[0] < said.seg_probability[0]


def test_a_request_below_the_threshold_has_no_target(make_speaker, processor, tmp_path):
    """Refused, its mask is empty and no status says ok; the threshold can be asked otherwise, and nothing is lost."""
    model = make_speaker(0.4)
    inputs = processor(images=PICTURE, text="the star", task="segment")
    output = model.generate(**inputs, max_new_tokens=3)
    result = processor.post_process(output, inputs)[0]
    assert (result.status, result.objects[0].status) == ("no_target", "no_target")
    assert result.target_score == pytest.approx(0.4, abs=1e-4)
    assert result.options.target_threshold == 0.5
    assert "target score 0.400 is below the threshold 0.500" in result.reason
    assert not result.objects[0].mask().any()
    assert result.frame(0).objects[0].status == "no_target"
    result.to_json(tmp_path / "result.json")
    assert SegmentationResult.from_json(tmp_path / "result.json").target_score == result.target_score
    drawn = processor.post_process(output, inputs, target_threshold=0.0)[0]
    assert drawn.status == "ok"
    assert drawn.objects[0].mask().all()


def test_one_above_it_is_as_without_a_calibration(make_speaker, processor):
    inputs = processor(images=PICTURE, text="the star", task="segment")
    found = {}
    for name, calibration in (("calibrated", CALIBRATION), ("not", None)):
        model = make_speaker(0.6, calibration)
        found[name] = processor.post_process(model.generate(**inputs, max_new_tokens=3), inputs)[0]
    assert found["not"].target_score is None
    assert found["not"].options.target_threshold == 0
    assert found["calibrated"].target_score == pytest.approx(0.6, abs=1e-4)
    assert found["calibrated"].status == found["not"].status == "ok"
    assert found["calibrated"].objects[0].codes == found["not"].objects[0].codes


@pytest.mark.parametrize("probability", [0.4, 0.6])
def test_streams_agree_with_generate(make_speaker, processor, tmp_path, probability):
    """A stream that draws what a result refuses, frame by frame."""
    model, video = make_speaker(probability), np.stack([PICTURE] * 3)
    with model.stream(video, "the star", processor, max_new_tokens=3) as stream:
        frames = list(stream)
    (said,) = stream.answers
    inputs = processor(videos=[video], text="the star", task="segment")
    whole = processor.post_process(make_speaker(probability).generate(**inputs, max_new_tokens=3), inputs)[0]
    assert said.status == whole.status == ("no_target" if probability < 0.5 else "ok")
    assert said.target_score == whole.target_score
    collected = collect_frames(frames, stream.answers, stream.source)[0]
    assert (collected.status, collected.reason) == (whole.status, whole.reason)
    assert collected.target_score == whole.target_score
    assert collected.objects[0].codes == whole.objects[0].codes
    with FrameRecords(tmp_path / "frames.jsonl") as records:
        for frame in frames:
            records.append(frame)
        (summary,) = summarise(records, stream.answers)
        assert [entry.target_score for entry in records.read(0).objects] == [whole.target_score]
    assert (summary.status, summary.reason, summary.target_score) == (whole.status, whole.reason, whole.target_score)


def test_sessions_add_nothing_that_is_refused(make_speaker, processor):
    video = np.stack([PICTURE] * 3)
    with DeSa2VASession(make_speaker(0.4), processor, video) as session:
        assert session.add(text="the star") == []
        assert session.last_answer.status == "no_target"
        assert "below the threshold" in session.last_answer.reason
        assert session.last_answer.target_score == pytest.approx(0.4, abs=1e-4)
    with DeSa2VASession(make_speaker(0.6), processor, video) as session:
        assert len(session.add(text="the star")) == 1


def test_refused_objects_claim_no_pixels(make_speaker, processor):
    """Two requests about one picture: what the refused one would cover belongs to the other."""
    model = make_speaker(0.6)
    inputs = processor(images=PICTURE, text=["the star", "the ring"], task="segment")
    output = model.generate(**inputs, max_new_tokens=3)
    output.target_score = torch.tensor([0.2, 0.8])
    output.track_logits[0] = output.track_logits[1] + 1
    refused, kept = processor.post_process(output, inputs, non_overlapping=True)
    assert (refused.status, kept.status) == ("no_target", "ok")
    assert kept.objects[0].mask().all()


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({"threshold": 0.5}, "must hold mark_probability"),
        ({**CALIBRATION, "threshold": 1.5}, "threshold=1.5 must be in"),
        ({**CALIBRATION, "bias": float("nan")}, "bias=nan must be a number"),
        ("on", "must hold"),
    ],
)
def test_calibrations_that_can_not_be(calibration, message):
    with pytest.raises(ValueError, match=message):
        DeSa2VAConfig(target_calibration=calibration)


def test_the_configuration_keeps_it(tmp_path):
    DeSa2VAConfig(target_calibration=CALIBRATION).save_pretrained(tmp_path)
    assert DeSa2VAConfig.from_pretrained(tmp_path).target_calibration == CALIBRATION
