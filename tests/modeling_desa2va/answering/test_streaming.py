"""`model.stream`: the results of `generate`, frame by frame, in bounded memory and without leftovers."""

import threading

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.tracking.memory import MemoryBank
from desa2va.processing.inputs.live_source import LiveSource

STRATEGIES = ["consistent", "memory", "per_frame"]
SENTENCES = ["the red circle", "the blue square"]


def clip(length=9, seed=0):
    return list(np.random.default_rng(seed).integers(0, 255, (length, 40, 64, 3), np.uint8))


@pytest.fixture(scope="module")
def seeing(make_model):
    """A model that sees its objects on the key frames 2 and later, never on the first: it walks both ways."""
    model = make_model(3)
    original = model._decode_pairs

    def decode(features, pairs, prompts):
        kept = original(features, pairs, prompts)
        rank = pairs.frame - pairs.frame.min()
        kept.fused.object_score = torch.where(rank >= 1 + pairs.object % 2, 3.0, -3.0)
        return kept

    model._decode_pairs = decode
    return model


def prefetching():
    return [thread for thread in threading.enumerate() if thread.name == "desa2va-prefetch"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_stream_equals_generate(seeing, processor, strategy, monkeypatch):
    """Bit by bit, with two sentences; also guards one encoding per frame while the walk goes both ways."""
    monkeypatch.setattr(seeing.config, "track_strategy", strategy)
    inputs = processor(videos=[clip()], text=SENTENCES, task="segment", num_key_frames=4)
    expected = processor.post_process(seeing.generate(**inputs, max_new_tokens=2), inputs, keep_logits=True)
    encoded = []
    hook = seeing.segmenter.sam.vision_encoder.register_forward_hook(lambda m, a, o: encoded.append(len(a[0])))
    with seeing.stream(clip(), SENTENCES, processor, num_key_frames=4, max_new_tokens=2) as stream:
        frames = {result.frame: result for result in stream}
    hook.remove()
    assert sum(encoded) == 9
    assert sorted(frames) == list(range(9))
    objects = [entry for result in expected for entry in result.objects]
    for number, entry in enumerate(objects):
        row = [frames[frame].objects[number] for frame in range(9)]
        assert [seen.code for seen in row] == entry.codes
        assert [seen.iou_score for seen in row] == entry.iou_scores
        assert [seen.object_score for seen in row] == entry.object_scores
    assert [answer.text for answer in stream.answers] == [result.text for result in expected]
    assert [answer.status for answer in stream.answers] == [result.status for result in expected]
    assert sum((answer.objects for answer in stream.answers), []) == list(range(len(objects)))


def test_regions_beside_words_are_those_of_generate(seeing, processor):
    """A stream could not be shown what words such as "all like this one" mean."""
    call = {"boxes": [[3, 3, 20, 20]], "num_key_frames": 3}
    inputs = processor(videos=[clip()], text="all like this one", task="segment", **call)
    (expected,) = processor.post_process(seeing.generate(**inputs, max_new_tokens=2), inputs)
    with seeing.stream(clip(), "all like this one", processor, max_new_tokens=2, **call) as stream:
        frames = {result.frame: result for result in stream}
    codes = [[frames[frame].objects[number].code for frame in range(9)] for number in range(len(expected.objects))]
    assert codes == [entry.codes for entry in expected.objects]
    with seeing.stream(clip(), processor=processor, task="gcg", max_new_tokens=2) as stream:
        assert [answer.request for answer in stream.answers] == [processor.gcg_instruction]
    for wrong, message in (
        ({"key_frames": "auto"}, "key_frames='auto' is for texts without"),
        ({"text": None}, "objects that are marked alone go to DeSa2VASession"),
    ):
        with pytest.raises(ValueError, match=message):
            seeing.stream(clip(), **{"text": "it", "processor": processor, **call, **wrong})


def test_consistent_walks_forward_first_then_back(seeing, processor):
    """A frame that comes twice, or one that never comes, breaks every writer of results."""
    with seeing.stream(clip(), "the red circle", processor, key_frames=[0, 3, 6], max_new_tokens=1) as stream:
        assert [result.frame for result in stream] == [3, 4, 5, 6, 7, 8, 2, 1, 0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_camera_equals_the_same_frames_in_a_list(make_model, processor, strategy):
    model = make_model(3)
    options = {"max_new_tokens": 2, "strategy": strategy, "num_key_frames": 3}
    frames = clip(20)
    listed = {
        result.frame: result for result in model.stream(frames, SENTENCES, processor, key_frames="first", **options)
    }
    live = list(model.stream(iter(frames), SENTENCES, processor, **options))
    assert [result.frame for result in live] == list(range(20))
    for result in live:
        for ours, theirs in zip(result.objects, listed[result.frame].objects, strict=True):
            assert ours.status == theirs.status
            assert (ours.mask != theirs.mask).mean() < 1e-3  # a camera is encoded frame by frame, a list in batches
            assert ours.iou_score == pytest.approx(theirs.iou_score, abs=1e-4)


def test_a_camera_without_objects_goes_on_to_its_end(make_model, processor):
    """Nothing to follow means nothing is encoded; the frames must come through all the same."""
    model = make_model(3)
    with torch.no_grad():
        for decoder in (model.segmenter.text_decoder, model.segmenter.visual_decoder):
            decoder.pred_obj_score_head.proj_out.bias.fill_(-100.0)
    stream = model.stream(iter(clip(12)), "the red circle", processor, max_new_tokens=1, keep_images=True)
    results = list(stream)
    assert [result.frame for result in results] == list(range(12))
    assert all(np.array_equal(result.image, frame) for result, frame in zip(results, clip(12), strict=True))
    assert stream.answers[0].status == "no_target"
    assert stream.num_frames is None


@pytest.mark.parametrize("task", ["segment", "chat"])
def test_images_belong_to_their_frames_in_both_directions(seeing, processor, task):
    """A prefetched picture given to the frame beside it makes overlays that lag."""
    options = {"key_frames": [0, 3, 6], "max_new_tokens": 1, "keep_images": True, "task": task}
    for result in seeing.stream(clip(), "the red circle", processor, **options):
        assert np.array_equal(result.image, clip()[result.frame])
        assert bool(result.objects) == (task == "segment")


def test_close_ends_the_thread_and_frees_everything(seeing, processor, monkeypatch):
    """Half-watched videos pile up otherwise."""
    import gc
    import weakref

    banks = []
    original = MemoryBank.__init__
    monkeypatch.setattr(
        MemoryBank, "__init__", lambda bank, *args: banks.append(weakref.ref(bank)) or original(bank, *args)
    )
    stream = seeing.stream(clip(30), "the red circle", processor, max_new_tokens=1)
    next(stream), next(stream), next(stream)
    stream.close()
    assert not prefetching()
    assert list(stream) == []
    gc.collect()
    assert banks
    assert all(bank() is None for bank in banks)


def test_errors_of_a_camera_reach_the_reader(make_model, processor):
    def breaking():
        yield from clip(12)
        raise OSError("cable pulled")

    stream = make_model(3).stream(breaking(), "the red circle", processor, max_new_tokens=1)
    with pytest.raises(OSError, match="cable pulled"):
        list(stream)
    assert not prefetching()


def test_what_is_held_does_not_grow_with_the_video(seeing, processor, monkeypatch):
    """Counted, since tests measure no memory: banks and pictures held are the same for 30 and for 60 frames."""
    largest = []
    forget = MemoryBank.forget
    monkeypatch.setattr(
        MemoryBank, "forget", lambda bank, upcoming: forget(bank, upcoming) or largest.append(len(bank))
    )
    peaks = []
    for length in (30, 60):
        largest.clear()
        for _ in seeing.stream(clip(length), "the red circle", processor, key_frames=[0, 12, 20], max_new_tokens=1):
            pass
        peaks.append(max(largest))
    assert peaks[0] == peaks[1]


def test_the_processor_is_found_beside_the_model(model, processor, tmp_path):
    from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

    with pytest.raises(ValueError, match="processor="):
        DeSa2VAModel(model.config).eval().stream(clip(2), "the red circle")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = DeSa2VAModel.from_pretrained(tmp_path).eval()
    assert len(list(loaded.stream(clip(2), "the red circle", max_new_tokens=1))) == 2


@pytest.mark.parametrize(
    ("video", "options", "message"),
    [
        (iter(clip(3)), {"key_frames": "uniform"}, "live video"),
        (LiveSource(iter(clip(9)), 3), {"key_frames": "auto"}, "live video"),
        (clip(3), {"strategy": "best"}, "consistent, memory, per_frame"),
    ],
)
def test_impossible_requests_are_named(model, processor, video, options, message):
    with pytest.raises(ValueError, match=message):
        model.stream(video, "the red circle", processor, **options)


def one_frame(kind, folder):
    """A video of one frame, of every origin."""
    import av
    from PIL import Image

    (picture,) = clip(1)
    if kind in ("array", "list", "camera"):
        return {"array": np.stack([picture]), "list": [picture], "camera": iter([picture])}[kind]
    if kind == "mp4":
        with av.open(str(folder / "still.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=5)
            stream.width, stream.height, stream.pix_fmt = 64, 40, "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        return folder / "still.mp4"
    name = "still.gif" if kind == "gif" else "0.png"
    Image.fromarray(picture).save(folder / name)
    return folder / name if kind == "gif" else folder


@pytest.mark.parametrize("kind", ["array", "list", "camera", "mp4", "gif", "folder"])
def test_a_video_of_one_frame(make_model, processor, tmp_path, kind):
    """A still GIF, `--max-frames 1` or a camera that stops at once is a video like any other: no frame is followed,
    and what ends a walk has to find something that can be ended."""
    model = make_model(3)
    with model.stream(one_frame(kind, tmp_path), SENTENCES, processor, max_new_tokens=2) as stream:
        (result,) = stream
    assert result.frame == 0
    assert len(result.objects) == 2
    assert not prefetching()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_video_of_one_frame_equals_its_picture(make_model, processor, strategy, monkeypatch):
    """Three paths lead to the one frame of a video; they must not differ from a picture, nor among each other."""
    model = make_model(3)
    monkeypatch.setattr(model.config, "track_strategy", strategy)
    inputs = processor(images=clip(1)[0], text=SENTENCES, task="segment")
    expected = processor.post_process(model.generate(**inputs, max_new_tokens=2), inputs)
    inputs = processor(videos=[clip(1)], text=SENTENCES, task="segment")
    listed = processor.post_process(model.generate(**inputs, max_new_tokens=2), inputs)
    with model.stream(clip(1), SENTENCES, processor, max_new_tokens=2) as stream:
        (streamed,) = stream
    codes = [entry.codes for result in expected for entry in result.objects]
    assert codes == [entry.codes for result in listed for entry in result.objects]
    assert codes == [[entry.code] for entry in streamed.objects]
