"""The configuration's thresholds reach every result, and what is asked for explicitly overrides them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.answering.refinement import refine_result
from desa2va.modeling_desa2va.session.session import DeSa2VASession
from desa2va.processing.files.mask_cleanup import MaskOptions
from desa2va.processing.files.mask_codec import encode_mask
from desa2va.processing.inputs.video_io import open_visual
from desa2va.processing.results.answer_text import ParsedAnswer
from desa2va.processing.results.frame_collection import collect_frames
from desa2va.processing.results.frame_export import summarise, write_coco, write_result
from desa2va.processing.results.frame_records import FrameRecords
from desa2va.processing.results.results import SegmentationResult

SENTENCES = ["the red circle", "the blue square"]
STRATEGIES = ["consistent", "memory", "per_frame"]
LOW = {"object_score_threshold": -5.0, "mask_threshold": 0.3}


def clip(length=6):
    return list(np.random.default_rng(0).integers(0, 255, (length, 40, 64, 3), np.uint8))


@pytest.fixture
def doubting(make_model):
    """A model whose object scores on key frames are -0.44: absent by the usual threshold, present by a low one."""

    def make(**overrides):
        model = make_model(3, num_reprompts=0, **overrides)
        original = model._decode_pairs

        def decode(features, pairs, prompts):
            kept = original(features, pairs, prompts)
            kept.fused.object_score = torch.full_like(kept.fused.object_score, -0.44)
            return kept

        model._decode_pairs = decode
        return model

    return make


def generated(model, processor, **options):
    inputs = processor(videos=[open_visual(clip())], text=SENTENCES, task="segment", num_key_frames=2)
    return processor.post_process(model.generate(**inputs, max_new_tokens=2), inputs, **options)


def streamed(model, processor, **options):
    given = MaskOptions(**options) if options else None
    stream = model.stream(clip(), SENTENCES, processor, num_key_frames=2, max_new_tokens=2, options=given)
    frames = list(stream)
    return collect_frames(frames, stream.answers, stream.source), frames


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_stream_equals_generate_with_thresholds_of_the_configuration(doubting, processor, strategy):
    """Key frames went blank where the frames between them, which the tracker judges, did not."""
    model = doubting(track_strategy=strategy, **LOW)
    whole, (together, _) = generated(model, processor), streamed(model, processor)
    plain = generated(doubting(track_strategy=strategy), processor)
    for ours, theirs, usual in zip(together, whole, plain, strict=True):
        assert ours.to_dict() == theirs.to_dict()
        assert ours.status == "ok"
        assert ours.options.object_score_threshold == -5.0
        (entry,), (before,) = theirs.objects, usual.objects
        if strategy != "memory":  # which does not ask the key frames
            assert all(entry.areas[frame] for frame in (0, 5))
        assert entry.codes != before.codes


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_explicit_threshold_overrides_the_configuration(doubting, processor, strategy):
    """Both ways: what the configuration calls absent is shown on request, and what it shows is taken away."""
    low, usual = doubting(track_strategy=strategy, **LOW), doubting(track_strategy=strategy)
    for model, wanted, drawn in ((usual, LOW, True), (low, {"object_score_threshold": 50.0}, False)):
        whole, (together, _) = generated(model, processor, **wanted), streamed(model, processor, **wanted)
        for ours, theirs in zip(together, whole, strict=True):
            assert ours.to_dict() == theirs.to_dict()
            if strategy != "memory":  # which never empties a mask by the score
                assert bool(theirs.objects[0].areas[0]) == drawn
                assert theirs.status == ("ok" if drawn else "no_target")


def test_pictures_and_clicks_read_the_configuration(doubting, processor):
    model = doubting(object_score_threshold=-5.0, mask_threshold=0.3)
    inputs = processor(images=clip()[0], text=SENTENCES[0], task="segment")
    (result,) = processor.post_process(model.generate(**inputs, max_new_tokens=2), inputs)
    assert result.status == "ok"
    assert result.objects[0].object_scores[0] < 0.5
    inputs = processor(images=clip()[0], points=[[20, 15]])
    high = doubting(mask_threshold=1.5, object_score_threshold=-50.0)
    areas = [
        processor.post_process(entry.generate(**inputs), inputs)[0].objects[0].areas[0]
        for entry in (doubting(object_score_threshold=-50.0), high)
    ]
    assert areas[0] > areas[1]


def test_a_session_reads_the_configuration(doubting, processor, monkeypatch):
    """Words, reports and thresholds recorded in the result are the configuration's; options override the reports."""
    # Of a model that was never trained a long answer is a matter of last bits.
    monkeypatch.setattr("desa2va.modeling_desa2va.session.words.MAX_NEW_TOKENS", 2)
    model = doubting(**LOW)
    with DeSa2VASession(model, processor, clip()) as session:
        session.add(text=SENTENCES[0], key_frames=[0, 5])
        list(session.propagate())
        result = session.results()
    inputs = processor(videos=[clip()], text=SENTENCES[0], task="segment", key_frames=[0, 5])
    (expected,) = processor.post_process(model.generate(**inputs, max_new_tokens=2), inputs)
    (ours,), (theirs,) = result.objects, expected.objects
    # Frames encoded in other batches differ in their last bits, which moves a pixel that lies at the threshold.
    same = [(ours.mask(t) == theirs.mask(t)).mean() for t in range(result.num_frames)]
    assert min(same) > 0.99
    assert ours.status == "ok"
    assert result.options == expected.options
    with DeSa2VASession(model, processor, clip(), MaskOptions(object_score_threshold=50.0)) as session:
        session.add(text=SENTENCES[0], key_frames=[0, 5])
        assert session.result(0).objects[0].status == "no_target"
        assert session.result(0).options.mask_threshold == 0.3


def test_files_name_the_thresholds_and_agree(doubting, processor, tmp_path):
    """Records, result file, COCO and summaries of a stream say what the stream said."""
    _, frames = streamed(doubting(**LOW), processor)
    with FrameRecords(tmp_path / "frames.jsonl") as records:
        for frame in frames:
            records.append(frame)
        said = streamed(doubting(**LOW), processor)[0]
        answers = [ParsedAnswer(result.text, request=result.request) for result in said]
        summaries = summarise(records, answers)
        names = ("text", "raw_text", "status", "reason", "height", "width", "num_frames")
        head = {name: getattr(said[0], name) for name in names}
        write_result(records, tmp_path / "result.json", head)
        write_coco(records, tmp_path / "coco.json")
        assert [records.read(number).options.object_score_threshold for number in (0, 5)] == [-5.0, -5.0]
    assert [summary.status for summary in summaries] == ["ok", "ok"]
    read = SegmentationResult.from_json(tmp_path / "result.json")
    assert read.options == said[0].options
    assert [entry.codes for entry in read.objects] == [entry.codes for result in said for entry in result.objects]
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert coco["info"]["object_score_threshold"] == -5.0
    assert coco["info"] == said[0].to_coco()["info"]
    assert {entry["image_id"] for entry in coco["annotations"]} == set(range(6))


def test_refinement_keeps_the_thresholds_of_the_result(doubting, processor):
    """What the decoder sees in a crop was compared with thresholds of 0, whatever those of the result."""
    for score, kept in ((-50.0, True), (50.0, False)):
        model = doubting(object_score_threshold=-50.0, mask_threshold=-50.0)
        inputs = processor(images=clip()[0], boxes=[[20, 10, 30, 20]])
        (result,) = processor.post_process(model.generate(**inputs), inputs)
        small = np.zeros((40, 64), dtype=bool)
        small[10:20, 20:30] = True
        result.objects[0].codes, result.objects[0].iou_scores = [encode_mask(small)], [-1.0]
        result = replace(result, options=replace(result.options, object_score_threshold=score))
        refined = refine_result(model, processor, result, refine_area=0.5)
        # Above -50 lies every pixel of the crop, which is 32 pixels wide.
        assert refined.objects[0].areas == ([32 * 32] if kept else [100])
        assert refined.options == result.options
