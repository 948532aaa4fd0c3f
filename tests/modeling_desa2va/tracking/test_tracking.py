"""The memory tracker against transformers' own inference session, and as a training step."""

import copy
import functools
import math
from itertools import takewhile

import pytest
import torch
from transformers import Sam2VideoConfig, Sam2VideoInferenceSession
from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoMaskDecoderConfig

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.modeling_desa2va.outputs import ClipPrediction, MaskPrediction
from desa2va.modeling_desa2va.segmenter import DeSa2VASegmenter
from desa2va.modeling_desa2va.tracking import tracker as tracker_module
from desa2va.modeling_desa2va.tracking.frame_encoding import encode_lazily
from desa2va.modeling_desa2va.tracking.frame_steps import FrameSteps, propagate_training
from desa2va.modeling_desa2va.tracking.memory import MemoryBank
from desa2va.modeling_desa2va.tracking.strategies import TrackRequest, track_objects, walk_objects
from desa2va.modeling_desa2va.tracking.tracker import FramePrompt, MemoryTracker

SIZE, WIDTH, LENGTH = 64, 128, 9
SAM_20 = {"enable_temporal_pos_encoding_for_object_pointers": False, "enable_occlusion_spatial_embedding": False}
SAM_21 = {"enable_temporal_pos_encoding_for_object_pointers": True, "enable_occlusion_spatial_embedding": True}


def sam_config(**options):
    """Twice as wide as the memory (64), where transformers' session splits pointers; it fails at equal widths."""
    grid = SIZE // 16
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "num_attention_heads": 2,
        "image_size": [SIZE, SIZE],
        "window_positional_embedding_background_size": [4, 4],
        "blocks_per_stage": [1, 1, 2],
        "embed_dim_per_stage": [16, 32, 64],
        "num_attention_heads_per_stage": [2, 4, 8],
        "window_size_per_stage": [8, 4, 4],
        "global_attention_blocks": [3],
        "num_query_pool_stages": 3,
    }
    return Sam2VideoConfig(
        vision_config={
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16],
            "backbone_feature_sizes": [[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
            "fpn_hidden_size": WIDTH,
            "fpn_top_down_levels": [0, 1, 2],
            "num_feature_levels": 3,
        },
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": SIZE, "patch_size": 16},
        # An object, not a dict: transformers 5.17 makes a prompt encoder's configuration of the dict.
        mask_decoder_config=Sam2VideoMaskDecoderConfig(
            hidden_size=WIDTH, mlp_dim=64, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=32
        ),
        image_size=SIZE,
        num_maskmem=4,
        max_object_pointers_in_encoder=5,
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=2,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[grid, grid],
        memory_attention_dropout=0.0,
        memory_attention_rope_dropout=0.0,
        memory_encoder_hidden_size=WIDTH,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=64,
        **options,
    )


def build(**options):
    """A fresh copy of the segmenter for these options."""
    return copy.deepcopy(reference(tuple(sorted(options.items()))))


@functools.cache
def reference(options):
    """Random weights of unit scale, so that prompts and memories matter; object scores of both signs."""
    torch.manual_seed(0)
    segmenter = DeSa2VASegmenter(DeSa2VAConfig(sam_config=sam_config(**dict(options)), multimask_output=True)).eval()
    with torch.no_grad():
        for name, parameter in segmenter.named_parameters():
            if parameter.dim() >= 2:
                parameter.normal_(std=1.0 / math.sqrt(parameter[0].numel()))
            elif "norm" not in name:
                parameter.normal_(std=0.3)
        for decoder in (segmenter.sam.mask_decoder, segmenter.visual_decoder):
            decoder.pred_obj_score_head.proj_out.weight.mul_(6.0)
    centre_scores(segmenter)
    return segmenter


def centre_scores(segmenter):
    """Moves the score head until about half of the followed frames show their object."""
    prompts = {frame: [FramePrompt([row], masks=blobs(1, seed=row))] for row, frame in enumerate((2, 5, 3))}
    heads = [d.pred_obj_score_head.proj_out.bias for d in (segmenter.sam.mask_decoder, segmenter.visual_decoder)]
    for _ in range(4):
        tracks = MemoryTracker(segmenter).track(CountingEncoder(segmenter, video()).encode, prompts, LENGTH, 3)
        followed = tracks.object_score[tracks.object_score.abs() != 10]
        for bias in heads:
            bias.data -= followed.median()


def video(length=LENGTH):
    return torch.randn(length, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def blobs(count, seed=2):
    """(count, SIZE, SIZE) rectangles in {0, 1}."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, SIZE, SIZE)
    for mask in masks:
        top, left = torch.randint(0, SIZE // 2, (2,), generator=generator).tolist()
        mask[top : top + 24, left : left + 20] = 1.0
    return masks


class CountingEncoder:
    """A `FrameEncoder` that counts what it encodes."""

    def __init__(self, segmenter, frames, batch_size=None):
        self.seen = []
        self.encode = encode_lazily(segmenter, lambda wanted: self.read(frames, wanted), batch_size)

    def read(self, frames, wanted):
        for frame in wanted:
            self.seen.append(frame)
            yield frames[frame]


def prompt_of(kind, number, frame, row):
    """One object's prompt as ours, and as the session's inputs."""
    generator = torch.Generator().manual_seed(100 * number + frame)
    if kind == "mask":
        mask = blobs(1, seed=100 * number + frame)
        return FramePrompt([row], masks=mask), ("mask", mask[None])
    if kind == "box":
        box = torch.tensor([[8.0, 10.0, 40.0, 50.0]]) + 5 * torch.rand(1, 4, generator=generator)
        inputs = {"point_coords": box.reshape(1, 1, 2, 2), "point_labels": torch.tensor([[[2, 3]]])}
        return FramePrompt([row], boxes=box), ("points", inputs)
    count = 1 if kind == "click" else 3
    points = SIZE * torch.rand(1, count, 2, generator=generator)
    labels = torch.tensor([[1, 0, 1][:count]])
    return FramePrompt([row], points=(points, labels)), (
        "points",
        {"point_coords": points[:, None], "point_labels": labels[:, None]},
    )


def session_track(sam, frames, inputs, start, reverse_only=False):
    """One object in transformers' session: (T, h, w) logits and (T,) scores; a later visit of a frame overrides.

    A given mask's pointer comes from the single mask's token, as SAM-2's authors have it; transformers, which says
    nothing there, falls into a default that takes the best of three.
    """
    sam._single_frame_forward = functools.partial(type(sam)._single_frame_forward, sam, multimask_output=False)
    session = Sam2VideoInferenceSession(video=frames, video_height=SIZE, video_width=SIZE, dtype=torch.float32)
    number = session.obj_id_to_idx(1)
    for frame, (kind, value) in inputs.items():
        add = session.add_mask_inputs if kind == "mask" else session.add_point_inputs
        add(number, frame, value)
        session.obj_with_new_inputs.append(1)
        sam(session, frame_idx=frame)
    logits, scores = {}, {}
    for reverse in (True,) if reverse_only else (False, True):
        for out in sam.propagate_in_video_iterator(session, start_frame_idx=start, reverse=reverse):
            logits[out.frame_idx], scores[out.frame_idx] = out.pred_masks[0, 0], out.object_score_logits[0]
    order = sorted(logits)
    return order, torch.stack([logits[f] for f in order]), torch.stack([scores[f].reshape(()) for f in order])


def emptied(tracks):
    """Logits as SAM-2 reports them: -1024 where the object scores as absent; ours leave that to who reads them."""
    return torch.where(tracks.object_score[..., None, None] > 0, tracks.logits, torch.tensor(-1024.0))


STARTS = [(2,), (2, 5), (4, 7), (3,)]


def both_ways(segmenter, kind, direction="both", starts=STARTS):
    frames, prompts, sessions = video(), {}, []
    for number, on_frames in enumerate(starts):
        inputs = {}
        for frame in on_frames:
            ours, inputs[frame] = prompt_of(kind, number, frame, number)
            prompts.setdefault(frame, []).append(ours)
        sessions.append(inputs)
    counter = CountingEncoder(segmenter, frames)
    tracker = MemoryTracker(segmenter, memory_dtype=torch.bfloat16)
    tracks = tracker.track(counter.encode, prompts, LENGTH, len(starts), direction=direction)
    start = max(prompts) if direction == "backward" else min(prompts)
    expected = [session_track(segmenter.sam, frames, i, start, direction == "backward") for i in sessions]
    return tracks, expected, counter


CASES = [
    pytest.param(kind, options, id=f"{kind}-{name}")
    for name, options in (("2.0", SAM_20), ("2.1", SAM_21), ("closest", SAM_21 | {"max_cond_frame_num": 2}))
    for kind in ("mask", "click", "clicks", "box")
    if name != "closest" or kind == "mask"
]


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_equals_the_inference_session_object_by_object(kind, options):
    """Wrong temporal encodings, memory selection, multimask rule, gating or backward start all show here."""
    starts = [(2, 4, 7), (2,), (4, 7), (3,)] if "max_cond_frame_num" in options else STARTS
    tracks, expected, counter = both_ways(build(**options), kind, starts=starts)
    scores = torch.stack([score for _, _, score in expected])
    followed = scores[scores.abs() != 10]  # 10: the score SAM-2 gives a mask prompt
    assert 0.1 < (followed > 0).float().mean() < 0.9
    for number, (order, logits, score) in enumerate(expected):
        assert order == list(range(LENGTH))
        torch.testing.assert_close(emptied(tracks)[number], logits, atol=1e-3, rtol=0)
        torch.testing.assert_close(tracks.object_score[number], score, atol=1e-3, rtol=0)
    assert sorted(counter.seen) == list(range(LENGTH))


def test_backward_only_equals_the_session():
    tracks, expected, _ = both_ways(build(**SAM_21), "mask", direction="backward")
    for number, (order, logits, _) in enumerate(expected):
        assert order == list(range(8))
        torch.testing.assert_close(emptied(tracks)[number, :8], logits, atol=1e-3, rtol=0)
    assert (tracks.logits[:, 8] == -1024).all()


def test_objects_in_one_batch_equal_objects_one_by_one():
    """Mixing up rows of objects that remember different frames shows here, and so does leaking between objects."""
    segmenter, frames = build(**SAM_21), video()
    prompts, alone = {}, []
    for number, on_frames in enumerate(STARTS):
        single = {frame: [prompt_of("mask", number, frame, 0)[0]] for frame in on_frames}
        for frame in on_frames:
            prompts.setdefault(frame, []).append(prompt_of("mask", number, frame, number)[0])
        tracker = MemoryTracker(segmenter)
        alone.append(tracker.track(CountingEncoder(segmenter, frames).encode, single, LENGTH, 1))
    together = MemoryTracker(segmenter).track(CountingEncoder(segmenter, frames).encode, prompts, LENGTH, len(STARTS))
    for number, single in enumerate(alone[:2]):  # these start on the first prompted frame in both runs
        torch.testing.assert_close(together.logits[number], single.logits[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(together.iou[number], single.iou[0], atol=1e-5, rtol=0)


def test_prompts_of_one_frame_in_one_call_equal_separate_calls(monkeypatch):
    monkeypatch.setattr(tracker_module, "PAIRS_AT_ONCE", 1)
    segmenter, frames, masks = build(**SAM_21), video(), blobs(3)
    batched = {1: [FramePrompt([2, 0, 1], masks=masks)]}
    separate = {1: [FramePrompt([number], masks=masks[row : row + 1]) for row, number in enumerate([2, 0, 1])]}
    runs = [
        MemoryTracker(segmenter).track(CountingEncoder(segmenter, frames).encode, prompts, LENGTH, 3)
        for prompts in (batched, separate)
    ]
    torch.testing.assert_close(runs[0].logits, runs[1].logits, atol=1e-4, rtol=0)
    assert (runs[0].logits[0] - runs[0].logits[1]).abs().max() > 0.1


@pytest.mark.parametrize("at_once", [(5, 32), (2, 32), (5, 3)])
def test_prompted_frames_in_one_call_equal_frame_by_frame(monkeypatch, at_once):
    """Rows, memories or answers of another frame, or memories in another order than that of the frames."""
    segmenter, prompts = build(**SAM_21), {}
    for number, (frame, kind) in enumerate([(2, "mask"), (3, "click"), (3, "mask"), (4, "clicks"), (4, "box")]):
        prompts.setdefault(frame, []).append(prompt_of(kind, number, frame, number)[0])
    for frame in (5, 7):
        prompts[frame] = [prompt_of("click", number, frame, number)[0] for number in (1, 3, 4)]
    prompts[6] = [FramePrompt([0, 2], masks=blobs(2, seed=9)), FramePrompt([3], masks=blobs(1)[:, ::2])]
    runs = []
    for limits in (at_once, (1, 1)):
        monkeypatch.setattr(tracker_module, "FRAMES_AT_ONCE", limits[0])
        monkeypatch.setattr(tracker_module, "PAIRS_AT_ONCE", limits[1])
        counter = CountingEncoder(segmenter, video())
        runs.append(MemoryTracker(segmenter).track(counter.encode, prompts, LENGTH, 5))
        assert sorted(counter.seen) == list(range(LENGTH))
    torch.testing.assert_close(runs[0].logits, runs[1].logits, atol=1e-3, rtol=0)
    torch.testing.assert_close(runs[0].object_score, runs[1].object_score, atol=1e-3, rtol=0)


def test_prompted_frames_share_calls_of_bounded_size(monkeypatch):
    """One call per prompted frame costs as much as the peer's; one call for any number of frames, all memory."""
    segmenter, sizes = build(**SAM_21), []
    prompt_masks = FrameSteps.prompt_masks

    def watched(steps, features, rows, masks):
        sizes.append((len(features.low), len(rows)))
        return prompt_masks(steps, features, rows, masks)

    monkeypatch.setattr(FrameSteps, "prompt_masks", watched)
    monkeypatch.setattr(tracker_module, "PAIRS_AT_ONCE", 6)
    prompts = {frame: [FramePrompt([0, 1], masks=blobs(2))] for frame in range(7)}
    MemoryTracker(segmenter).track(CountingEncoder(segmenter, video()).encode, prompts, LENGTH, 2)
    assert sizes == [(3, 6), (2, 4), (2, 4)]


@pytest.mark.parametrize(
    ("direction", "prompted", "remembered"),
    [
        ("forward", [2], [3, 4, 5, 6, 7]),
        ("both", [2], [3, 4, 5, 6, 7, 8, 1]),
        ("both", [0], [1, 2, 3, 4, 5, 6, 7]),
        ("backward", [4], [3, 2, 1]),
        ("forward", [5, 8], [6]),  # on frame 8 the mask is given: nothing looks back at 7
        ("forward", [7, 8], []),
    ],
)
def test_no_memory_is_made_that_no_frame_looks_back_at(monkeypatch, direction, prompted, remembered):
    """A memory too many costs time; one too few, that of a frame looked back at, would change results."""
    segmenter, seen, memories = build(**SAM_21), [], []
    remember, memorize = FrameSteps.remember, FrameSteps.memorize

    def watched(steps, features, rows, observation, bank, frame, objects):
        seen.append(frame)
        remember(steps, features, rows, observation, bank, frame, objects)

    monkeypatch.setattr(FrameSteps, "remember", watched)
    monkeypatch.setattr(FrameSteps, "memorize", lambda *given: memories.append(len(given[2])) or memorize(*given))
    prompts = {frame: [FramePrompt([0], masks=blobs(1))] for frame in prompted}
    MemoryTracker(segmenter).track(CountingEncoder(segmenter, video()).encode, prompts, LENGTH, 1, direction)
    assert seen == remembered
    assert sum(memories) == (len(seen) + len(prompted) if prompted != [7, 8] else 0)


def test_memory_stays_bounded_in_long_videos(monkeypatch):
    """A bank that never forgets, or a tracker that keeps features, grows with the video."""
    largest = []
    forget = MemoryBank.forget

    def watched(bank, upcoming):
        forget(bank, upcoming)
        spatial = sum(entry.features is not None for entry in bank.tracked.values())
        largest.append((len(bank), spatial))

    monkeypatch.setattr(MemoryBank, "forget", watched)
    segmenter, sizes = build(**SAM_21), []
    for length in (16, 40):
        largest.clear()
        counter = CountingEncoder(segmenter, video(length))
        prompts = {frame: [FramePrompt([0], masks=blobs(1))] for frame in (4, 6)}
        MemoryTracker(segmenter).track(counter.encode, prompts, length, 1)
        assert sorted(counter.seen) == list(range(length))
        sizes.append((max(size for size, _ in largest), max(spatial for _, spatial in largest)))
    assert sizes[0] == sizes[1]
    # 2 prompted frames, and 4 pointers / 3 spatial memories both behind the walk and after the anchor
    assert sizes[0][0] <= 2 + 4 + 5
    assert sizes[0][1] <= 3 + 4


@pytest.mark.parametrize(
    ("direction", "starts", "order"),
    [
        ("both", [(2,), (2, 5)], [2, 3, 4, 5, 6, 7, 8, 1, 0]),
        # Frame 2 is visited again on the way back, for the object that starts later; the second visit counts.
        ("both", [(2,), (4,)], [3, 4, 5, 6, 7, 8, 2, 1, 0]),
        ("forward", [(2,), (4,)], [2, 3, 4, 5, 6, 7, 8]),
        ("backward", [(2,), (4,)], [4, 3, 2, 1, 0]),
        ("both", [(0,), (4,)], [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_walk_yields_every_frame_once_with_all_objects(direction, starts, order):
    """A frame yielded twice, late, or without the objects prompted on it, and one that differs from `track`."""
    segmenter, frames, prompts = build(**SAM_21), video(), {}
    for number, on_frames in enumerate(starts):
        for frame in on_frames:
            prompts.setdefault(frame, []).append(prompt_of("mask", number, frame, 2 * number)[0])
    tracker, counter = MemoryTracker(segmenter), CountingEncoder(segmenter, frames)
    seen = list(tracker.walk(counter.encode, prompts, LENGTH, 4, direction))
    tracks = tracker.track(CountingEncoder(segmenter, frames).encode, prompts, LENGTH, 4, direction)
    assert [entry.frame for entry in seen] == order
    assert sorted(counter.seen) == sorted(order)
    for entry in seen:
        assert entry.objects == [0, 2]
        assert entry.logits.dtype == torch.float32
        assert torch.equal(entry.logits, tracks.logits[[0, 2], entry.frame])
        assert torch.equal(entry.iou, tracks.iou[[0, 2], entry.frame])
        assert torch.equal(entry.object_score, tracks.object_score[[0, 2], entry.frame])
    assert (tracks.logits[[1, 3]] == -1024).all()


def test_walk_is_lazy_and_stops_where_it_is_left():
    """A walk that encodes ahead of its reader keeps a camera, or an interrupted session, waiting."""
    segmenter = build(**SAM_21)
    counter = CountingEncoder(segmenter, video(), batch_size=1)
    walk = MemoryTracker(segmenter).walk(counter.encode, {0: [FramePrompt([0], masks=blobs(1))]}, LENGTH, 1)
    assert [next(walk).frame, next(walk).frame] == [0, 1]
    walk.close()
    assert counter.seen == [0, 1]


def test_a_walk_of_unknown_length_ends_with_its_frames():
    segmenter, frames = build(**SAM_21), video()
    prompts = {2: [FramePrompt([0], masks=blobs(1))]}
    tracker = MemoryTracker(segmenter)
    encode = encode_lazily(segmenter, lambda wanted: (frames[frame] for frame in takewhile(LENGTH.__gt__, wanted)), 1)
    seen = list(tracker.walk(encode, prompts, None, 1, "forward"))
    known = tracker.track(CountingEncoder(segmenter, frames).encode, prompts, LENGTH, 1, "forward")
    assert [entry.frame for entry in seen] == list(range(2, LENGTH))
    for entry in seen:
        torch.testing.assert_close(entry.logits[0], known.logits[0, entry.frame], atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="needs the video's length"):
        tracker.walk(encode, prompts, None, 1)


@pytest.mark.parametrize("strategy", ["consistent", "memory", "per_frame"])
@pytest.mark.parametrize("objects", [1, 3, 10])
def test_every_frame_is_encoded_once_whatever_the_number_of_objects(strategy, objects):
    """The peer encodes n + min(5, n) frames per object."""
    segmenter = build(**SAM_21)
    prompts = torch.randn(objects, 1, WIDTH, generator=torch.Generator().manual_seed(3))
    present = [[number % 3 == 0, True, number % 2 == 0] for number in range(objects)]

    def decode(features, frame):
        return MaskPrediction(torch.ones(objects, 16, 16), torch.full((objects,), 0.5), torch.ones(objects))

    request, counter = request_for(segmenter, present, prompts=prompts, decode=decode)
    frames = list(walk_objects(segmenter, request, strategy))
    assert sorted(entry.frame for entry in frames) == list(range(LENGTH))
    assert all(entry.objects == list(range(objects)) for entry in frames)
    assert sorted(counter.seen + request.key_frames) == list(range(LENGTH))


@pytest.mark.parametrize("strategy", ["consistent", "memory", "per_frame"])
def test_features_at_hand_of_any_frame_are_used(strategy):
    """Candidates of `auto` key frames that were not chosen would be encoded a second time."""
    segmenter = build(**SAM_21)
    decode = functools.partial(decode_language, segmenter)
    prompts = torch.randn(1, 1, WIDTH, generator=torch.Generator().manual_seed(3))
    request, fresh = request_for(segmenter, [[False, True, True]], prompts=prompts, decode=decode)
    expected = track_objects(segmenter, request, strategy)
    request, reusing = request_for(segmenter, [[False, True, True]], prompts=prompts, decode=decode)
    with torch.no_grad():
        request.further = {frame: segmenter.encode_frames(video()[frame : frame + 1]) for frame in (0, 5)}
    tracks = track_objects(segmenter, request, strategy)
    assert sorted(fresh.seen) == [0, 2, 3, 5, 6, 8]
    assert sorted(reusing.seen) == [2, 3, 6, 8]
    torch.testing.assert_close(tracks.logits, expected.logits, atol=1e-2, rtol=0)


def decode_language(segmenter, features, frame):
    """A fixed prompt, decoded on one frame."""
    prompt = torch.randn(1, 1, WIDTH, generator=torch.Generator().manual_seed(4))
    return segmenter.decode(segmenter.visual_decoder, features, torch.zeros(1, dtype=torch.long), prompt)


def test_known_features_are_not_encoded_again():
    segmenter, frames = build(**SAM_21), video()
    prompts = {3: [FramePrompt([0], masks=blobs(1))], 5: [FramePrompt([1], masks=blobs(1, seed=7))]}
    fresh, reusing = CountingEncoder(segmenter, frames), CountingEncoder(segmenter, frames)
    known = {frame: segmenter.encode_frames(frames[frame : frame + 1]) for frame in (0, 3, 5)}
    expected = MemoryTracker(segmenter).track(fresh.encode, prompts, LENGTH, 2)
    tracks = MemoryTracker(segmenter).track(reusing.encode, prompts, LENGTH, 2, known=known)
    assert sorted(reusing.seen) == [1, 2, 4, 6, 7, 8]
    torch.testing.assert_close(tracks.logits, expected.logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_tracks(dtype):
    segmenter = build(**SAM_21).to(dtype)
    prompts = {2: [FramePrompt([0, 1], masks=blobs(2))], 4: [FramePrompt([2], boxes=torch.tensor([[8.0, 8, 40, 40]]))]}
    tracks = MemoryTracker(segmenter).track(CountingEncoder(segmenter, video()).encode, prompts, LENGTH, 3)
    assert tracks.logits.dtype == torch.float32
    assert tracks.logits.isfinite().all()
    assert ((tracks.iou >= 0) & (tracks.iou <= 1)).all()


# ---------------------------------------------------------------------------------------------------- training


def clip_inputs(segmenter, clips=2, length=4):
    pixels = video(clips * length).requires_grad_()
    table = torch.arange(clips * length).reshape(clips, length)[[0, clips - 1, 0]]
    truth = torch.stack([blobs(length, seed=seed) for seed in range(3)])
    return pixels, segmenter.encode_frames(pixels), table, truth


def test_gradients_reach_the_whole_memory_and_the_first_frame():
    """Stock transformers cannot train this: inference mode, in-place memories and masks gated before the loss."""
    segmenter = build(**SAM_21).train()
    pixels, features, table, truth = clip_inputs(segmenter)
    clip = propagate_training(segmenter, features, table, truth[:, 0])
    assert clip.logits.shape == (3, 4, 16, 16)
    assert clip.iou.shape == clip.object_score.shape == (3, 4)
    clip.logits[0, -1].square().mean().backward()
    for module in (segmenter.sam.memory_attention, segmenter.sam.memory_encoder, segmenter.sam.object_pointer_proj):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            # Softmax ignores the keys' bias.
            assert parameter.grad.abs().sum() > 0 or name.endswith("k_proj.bias"), name
    assert segmenter.sam.memory_temporal_positional_encoding.grad.abs().sum() > 0
    per_frame = pixels.grad.abs().sum((1, 2, 3))
    assert (per_frame[:4] > 0).all()
    assert (per_frame[4:] == 0).all()


def test_objects_scored_absent_still_learn_their_mask():
    """A gate in front of the loss would leave no gradient where the untrained score is negative."""
    segmenter = build(**SAM_21).train()
    with torch.no_grad():
        segmenter.sam.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(-100.0)
    _, features, table, truth = clip_inputs(segmenter)
    clip = propagate_training(segmenter, features, table, truth[:, 0])
    assert (clip.object_score < 0).all()
    assert (clip.logits > -100).all()
    clip.logits.square().mean().backward()
    hyper = segmenter.sam.mask_decoder.output_hypernetworks_mlps
    assert sum(p.grad.abs().sum() for p in hyper.parameters() if p.grad is not None) > 0


def test_objects_of_several_clips_equal_each_clip_alone():
    segmenter = build(**SAM_21).train()
    _, features, table, truth = clip_inputs(segmenter)
    together = propagate_training(segmenter, features, table, truth[:, 0])
    for number in range(3):
        alone = propagate_training(segmenter, features, table[[number]], truth[[number], 0])
        torch.testing.assert_close(together.logits[number], alone.logits[0], atol=1e-4, rtol=0)


def test_teacher_masks_are_what_is_remembered():
    """Truth on every frame makes the prediction of the last frame independent of the predictions between."""
    segmenter = build(**SAM_21).train()
    _, features, table, truth = clip_inputs(segmenter)
    taught = propagate_training(segmenter, features, table, truth[:, 0], truth, 1.0)
    free = propagate_training(segmenter, features, table, truth[:, 0], truth, 0.0)
    other = truth.clone()
    other[:, 2] = 0.0
    changed = propagate_training(segmenter, features, table, truth[:, 0], other, 1.0)
    torch.testing.assert_close(taught.logits[:, :2], free.logits[:, :2])
    torch.testing.assert_close(taught.logits[:, :3], changed.logits[:, :3])
    assert (taught.logits[:, 2] - free.logits[:, 2]).abs().max() > 1e-3
    assert (taught.logits[:, 3] - changed.logits[:, 3]).abs().max() > 1e-3


def test_training_clip_equals_the_tracker_in_eval_mode():
    """What is trained is what is run: the same memory, encodings and gating."""
    segmenter = build(**SAM_21)
    pixels, features, _, truth = clip_inputs(segmenter, clips=1, length=4)
    table = torch.arange(4)[None].expand(2, 4)
    with torch.no_grad():
        clip = propagate_training(segmenter, features, table, truth[:2, 0])
    prompts = {0: [FramePrompt([0, 1], masks=truth[:2, 0])]}
    tracks = MemoryTracker(segmenter).track(CountingEncoder(segmenter, pixels.detach()).encode, prompts, 4, 2)
    torch.testing.assert_close(tracks.logits[:, 1:], clip.logits[:, 1:], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first_masks": torch.zeros(2, 8, 8)}, "first_masks"),
        ({"teacher_probability": 1.5}, r"\[0, 1\]"),
        ({"teacher_probability": 0.5}, "teacher_masks"),
    ],
)
def test_clips_that_do_not_fit_are_refused(change, message):
    segmenter = build(**SAM_21)
    _, features, table, truth = clip_inputs(segmenter)
    with pytest.raises(ValueError, match=message):
        propagate_training(segmenter, features, table, **({"first_masks": truth[:, 0]} | change))


# ---------------------------------------------------------------------------------------------------- strategies


def request_for(segmenter, present, key_frames=(1, 4, 7), length=LENGTH, **options):
    """`present` (O, K): whether the language pass sees the object on the key frame."""
    present = torch.tensor(present)
    objects, keys = present.shape
    masks = torch.stack([blobs(keys, seed=number) for number in range(objects)])[..., ::4, ::4]
    frames = video(length)
    counter = CountingEncoder(segmenter, frames)
    key_masks = ClipPrediction(masks * 12 - 5, torch.full(present.shape, 0.7), torch.where(present, 3.0, -3.0))
    with torch.no_grad():
        features = segmenter.encode_frames(frames[list(key_frames)])
    return TrackRequest(length, counter.encode, list(key_frames), key_masks, features, **options), counter


def test_consistent_keeps_language_masks_and_fills_the_rest():
    segmenter = build(**SAM_21)
    request, counter = request_for(segmenter, [[True, True, False], [False, True, True], [False, False, False]])
    tracks = track_objects(segmenter, request, "consistent")
    for number, column in [(0, 0), (0, 1), (1, 1), (1, 2)]:
        frame = request.key_frames[column]
        assert torch.equal(tracks.logits[number, frame], request.key_masks.logits[number, column])
        assert tracks.iou[number, frame] == pytest.approx(0.7)
    others = [frame for frame in range(LENGTH) if frame not in request.key_frames]
    assert (tracks.logits[2, others] == -1024).all()
    assert (tracks.object_score[2] < 0).all()
    assert (tracks.object_score[:2] <= 0).any()
    assert (tracks.logits[:2] > -1000).all()
    assert sorted(counter.seen) == [0, 2, 3, 5, 6, 8]


def test_what_the_language_pass_did_not_see_on_a_key_frame_is_absent_there():
    """Guards per-frame absence: a mask the tracker carried onto a key frame overruled who had looked at it."""
    segmenter = build(**SAM_21)
    segmenter.sam.mask_decoder.pred_obj_score_head.proj_out.bias.data += 100.0  # a tracker that always sees it
    request, _ = request_for(segmenter, [[False, True, True], [True, True, False]])
    tracks = track_objects(segmenter, request, "consistent")
    assert tracks.object_score[0, 1] == tracks.object_score[1, 7] == -3.0
    rest = torch.ones(2, LENGTH, dtype=torch.bool)
    rest[0, 1] = rest[1, 7] = False
    assert (tracks.object_score[rest] > 0).all()
    assert (tracks.logits > -1000).all()  # the tracker's mask stays readable, for another threshold


def test_consistent_with_no_object_encodes_nothing():
    segmenter = build(**SAM_21)
    request, counter = request_for(segmenter, [[False, False, False]])
    tracks = track_objects(segmenter, request)
    assert (emptied(tracks) == -1024).all()
    # What the language pass drew stays readable there, for thresholds below the configuration's.
    assert torch.equal(tracks.logits[:, request.key_frames], request.key_masks.logits)
    assert counter.seen == []


def test_empty_language_mask_does_not_start_an_object():
    """A confident score with no pixel would otherwise condition SAM-2 on an empty mask."""
    segmenter = build(**SAM_21)
    request, _ = request_for(segmenter, [[True, True, True]])
    request.key_masks.logits[:] = -4.0
    assert (track_objects(segmenter, request).logits <= -4).all()


def test_memory_prompts_the_first_frames_and_keeps_masks_of_low_scores():
    """Sa2VA's Algorithm 1: prompted frames do not see the memory, later ones do; no frame is emptied by its score."""
    segmenter = build(**SAM_20)
    prompts = torch.randn(2, 1, WIDTH, generator=torch.Generator().manual_seed(3))
    request, counter = request_for(segmenter, [[True] * 3] * 2, prompts=prompts)
    tracks = track_objects(segmenter, request, "memory")
    assert (tracks.logits > -1000).all()
    assert (tracks.object_score <= 0).any()
    with torch.no_grad():
        features = segmenter.encode_frames(video())
        rows = torch.arange(LENGTH)
        direct = [segmenter.decode(segmenter.visual_decoder, features, rows, p.expand(LENGTH, 1, -1)) for p in prompts]
    for number, expected in enumerate(direct):
        torch.testing.assert_close(tracks.logits[number, :5], expected.logits[:5], atol=1e-3, rtol=0)
        assert (tracks.logits[number, 5:] - expected.logits[5:]).abs().amax((1, 2)).min() > 1e-2
    assert sorted(counter.seen + request.key_frames) == list(range(LENGTH))


def test_per_frame_decodes_every_other_frame():
    segmenter = build(**SAM_21)
    asked = []

    def decode(features, frame):
        asked.append((features.low.shape[0], frame))
        return MaskPrediction(torch.ones(2, 16, 16), torch.full((2,), 0.5), torch.tensor([1.0, -1.0]))

    request, counter = request_for(segmenter, [[True, True, True], [True, False, True]], decode=decode)
    tracks = track_objects(segmenter, request, "per_frame")
    assert asked == [(1, frame) for frame in (0, 2, 3, 5, 6, 8)]
    assert counter.seen == [0, 2, 3, 5, 6, 8]
    assert (tracks.logits[0, [0, 2]] == 1).all()
    assert (tracks.logits[1, [0, 2]] == 1).all()
    assert torch.equal(tracks.logits[1, [4, 7]], request.key_masks.logits[1, 1:])


@pytest.mark.parametrize(
    ("strategy", "message"), [("memory", "prompts"), ("per_frame", "decode"), ("best", "unknown")]
)
def test_requests_that_lack_something_are_refused(strategy, message):
    segmenter = build(**SAM_21)
    request, _ = request_for(segmenter, [[True] * 3])
    with pytest.raises(ValueError, match=message):
        track_objects(segmenter, request, strategy)


def test_misuse_of_the_tracker_is_refused():
    segmenter = build(**SAM_21)
    mask = blobs(1)
    encode = CountingEncoder(segmenter, video(4)).encode
    tracker = MemoryTracker(segmenter)
    with pytest.raises(ValueError, match="frames 0..3"):
        tracker.track(encode, {4: [FramePrompt([0], masks=mask)]}, 4, 1)
    with pytest.raises(ValueError, match="at most once"):
        tracker.track(encode, {0: [FramePrompt([0], masks=mask)] * 2}, 4, 1)
    with pytest.raises(ValueError, match="direction"):
        tracker.track(encode, {0: [FramePrompt([0], masks=mask)]}, 4, 1, direction="sideways")
    with pytest.raises(ValueError, match="one kind of prompt"):
        FramePrompt([0], masks=mask, language=torch.zeros(1, 1, WIDTH))
    with pytest.raises(ValueError, match="too few frames"):
        tracker.track(lambda frames: iter(()), {0: [FramePrompt([0], masks=mask)]}, 4, 1)
    with pytest.raises(ValueError, match="eval"):
        MemoryTracker(segmenter.train())
