"""A [SEG] that the model did not want is told wherever its object is shown."""

import itertools
import json

import numpy as np
import pytest
import torch

from desa2va.commands.picture_folder import merge
from desa2va.commands.segment import print_results
from desa2va.modeling_desa2va.session import DeSa2VASession
from desa2va.processing.results import (
    FORCED,
    FrameRecords,
    SegmentationResult,
    collect_frames,
    summarise,
    write_result,
)

SEG, EOS = 6, 2
PICTURE = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)


@pytest.fixture(scope="module", params=[True, False], ids=["forced", "meant"])
def spoken(request, make_model):
    """`(model, forced)`: a model that wants to end at once, and one that says one [SEG] before it does."""
    model, steps = make_model(7), itertools.count()

    def speak(module, args, logits):
        wanted = EOS if request.param or next(steps) % 2 else SEG
        return logits.index_fill(-1, torch.tensor([SEG]), -1e4).index_fill(-1, torch.tensor([wanted]), 1e4)

    model.mllm.lm_head.register_forward_hook(speak)
    model.config.object_score_threshold = -1000.0  # random weights judge everything absent
    return model, request.param


def check(entry, forced):
    """An object, answer or result."""
    assert entry.forced is forced
    assert (FORCED in entry.reason) is forced


def test_pictures_and_their_files(spoken, processor, tmp_path, capsys):
    """Probability 1e-6, status `ok`, and not a word."""
    model, forced = spoken
    inputs = processor(images=PICTURE, text="the star", task="segment")
    output = model.generate(**inputs, max_new_tokens=2)
    assert output.seg_forced.tolist() == [forced] * len(output.object_sequence)
    result = processor.post_process(output, inputs, mask_threshold=-1000.0, object_score_threshold=-1000.0)[0]
    assert result.status == "ok"
    assert (result.objects[0].seg_probability < 1e-6) is forced
    check(result, forced)
    check(result.objects[0], forced)
    result.to_json(tmp_path / "result.json")
    check(SegmentationResult.from_json(tmp_path / "result.json").objects[0], forced)
    check(merge([result, result]).objects[1], forced)
    print_results([result])
    assert (FORCED in capsys.readouterr().out) is forced


def test_results_of_older_files_are_not_forced(spoken, processor):
    model, _ = spoken
    inputs = processor(images=PICTURE, text="the star", task="segment")
    data = processor.post_process(model.generate(**inputs, max_new_tokens=1), inputs)[0].to_dict()
    del data["objects"][0]["forced"]
    assert SegmentationResult.from_dict(data).forced is False


def test_streams_and_their_files(spoken, processor, tmp_path):
    model, forced = spoken
    video = np.stack([PICTURE] * 3)
    with model.stream(video, "the star", processor, max_new_tokens=1) as stream:
        frames = list(stream)
    assert [entry.forced for frame in frames for entry in frame.objects] == [forced] * 3
    check(stream.answers[0], forced)
    check(collect_frames(frames, stream.answers, stream.source)[0].objects[0], forced)
    with FrameRecords(tmp_path / "frames.jsonl") as records:
        for frame in frames:
            records.append(frame)
        check(summarise(records, stream.answers)[0], forced)
        head = SegmentationResult("", "", [], "ok", "", 40, 64, 3).to_dict()
        write_result(records, tmp_path / "result.json", {name: head[name] for name in head if name != "objects"})
    written = json.loads((tmp_path / "result.json").read_text())["objects"][0]
    assert written["forced"] is forced
    assert SegmentationResult.from_json(tmp_path / "result.json").forced is forced


def test_sessions_and_their_files(spoken, processor, tmp_path):
    model, forced = spoken
    video = np.stack([PICTURE] * 3)
    with DeSa2VASession(model, processor, video) as session:
        session.add(points=[(20, 10)])
        assert session.add(text="the star")
        check(session.last_answer, forced)
        session.save(tmp_path / "session")
        assert {entry.object_id: entry.forced for entry in session.result(0).objects}[0] is False
        marked = [entry.forced for frame in session.propagate() for entry in frame.objects if entry.object_id == 1]
    assert marked == [forced] * 3
    with DeSa2VASession.load(tmp_path / "session", model, processor, video) as session:
        assert [entry.forced for entry in session.result(0).objects if entry.object_id] == [forced]
