"""An interactive session against MemoryTracker and against transformers' own session, corrections included."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import Sam2ImageProcessor, Sam2VideoInferenceSession

from desa2va.modeling_desa2va.session import memory as session_memory
from desa2va.modeling_desa2va.session.session import DeSa2VASession
from desa2va.modeling_desa2va.tracking.frame_encoding import encode_lazily
from desa2va.modeling_desa2va.tracking.frame_steps import gate
from desa2va.modeling_desa2va.tracking.memory import MemoryBank, binary_masks
from desa2va.modeling_desa2va.tracking.tracker import FramePrompt, MemoryTracker
from desa2va.processing.batch.image_rows import sam_pixels
from desa2va.processing.files.mask_cleanup import MaskOptions

# The random segmenter whose width transformers' session can split, with object scores of both signs.
_spec = importlib.util.spec_from_file_location(
    "tracking_factories", Path(__file__).parents[1] / "tracking" / "test_tracking.py"
)
tracking = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tracking)

LENGTH, HEIGHT, WIDTH = 9, 40, 60
SCALE = torch.tensor([tracking.SIZE / WIDTH, tracking.SIZE / HEIGHT])


@pytest.fixture(scope="module")
def frames():
    return list(np.random.default_rng(0).integers(0, 255, (LENGTH, HEIGHT, WIDTH, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def processor():
    return SimpleNamespace(
        sam_image_processor=Sam2ImageProcessor(size={"height": tracking.SIZE, "width": tracking.SIZE})
    )


@pytest.fixture(scope="module", params=["2.0", "2.1"])
def segmenter(request):
    segmenter = tracking.build(**(tracking.SAM_20 if request.param == "2.0" else tracking.SAM_21))
    segmenter.sam.mask_decoder.pred_obj_score_head.proj_out.bias.data += 1.5  # more frames with a mask than without
    return segmenter


def session_of(segmenter, processor, frames):
    def options(given, strategy):
        return MaskOptions().completed()

    model = SimpleNamespace(segmenter=segmenter, training=False, mask_options=options)
    return DeSa2VASession(model, processor, frames)


def recorded(session, number=0):
    """Logits (T, h, w), emptied as SAM-2 does, and scores (T,) of one object."""
    core = session._core
    records = [core.memory.record(core.objects[number], frame) for frame in range(LENGTH)]
    scores = torch.tensor([r.object_score for r in records])
    return gate(torch.stack([r.logits for r in records]), scores), scores


def assert_same(session, logits, scores, number=0):
    ours, our_scores = recorded(session, number)
    torch.testing.assert_close(ours, logits, atol=1e-3, rtol=0)
    torch.testing.assert_close(our_scores, scores, atol=1e-3, rtol=0)


def blob(top, left):
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top : top + 15, left : left + 20] = True
    return mask


PROMPTS = {
    "mask": ({"masks": blob(10, 15)}, {"masks": binary_masks(torch.from_numpy(blob(10, 15))[None], tracking.SIZE)}),
    "click": ({"points": [[20, 15]]}, {"points": (torch.tensor([[[20.0, 15.0]]]) * SCALE, torch.tensor([[1]]))}),
    "box": ({"boxes": [10, 5, 40, 30]}, {"boxes": torch.tensor([[10.0, 5.0, 40.0, 30.0]]) * SCALE.repeat(2)}),
}


@pytest.mark.parametrize("kind", list(PROMPTS))
@pytest.mark.parametrize("start", [0, 4])
def test_equals_the_tracker(segmenter, processor, frames, kind, start):
    """Coordinates, first frame, memories or directions that differ from the tracker's show here."""
    ours, theirs = PROMPTS[kind]
    pixels = sam_pixels(processor.sam_image_processor, frames)
    tracks = MemoryTracker(segmenter).track(
        encode_lazily(segmenter, lambda wanted: (pixels[frame] for frame in wanted)),
        {start: [FramePrompt([0], **theirs)]},
        LENGTH,
        1,
    )
    with session_of(segmenter, processor, frames) as session:
        assert session.add(frame=start, **ours) == [0]
        order = [result.frame for result in session.propagate()]
        assert order == [*range(start, LENGTH), *range(start - 1, -1, -1)]
        assert_same(session, gate(tracks.logits[0], tracks.object_score[0]), tracks.object_score[0])


def test_objects_in_one_walk_equal_sessions_of_their_own(segmenter, processor, frames):
    """Objects with different first frames share encodings, not memories."""
    starts = {0: (2, "mask"), 1: (5, "click"), 2: (2, "box")}
    with session_of(segmenter, processor, frames) as session:
        for start, kind in starts.values():
            session.add(frame=start, **PROMPTS[kind][0])
        assert [r.frame for r in session.propagate()] == [2, 3, 4, 5, 6, 7, 8, 4, 3, 2, 1, 0]
        for number, (start, kind) in starts.items():
            with session_of(segmenter, processor, frames) as alone:
                alone.add(frame=start, **PROMPTS[kind][0])
                list(alone.propagate())
                assert_same(session, *recorded(alone), number)


@pytest.fixture
def pure_sam2(monkeypatch):
    """Spatial memories in bf16, as transformers' session keeps them, and corrections taken as they come: random
    weights contradict every click."""

    class Bank(session_memory.SessionBank):
        def __init__(self, sam, num_frames):
            MemoryBank.__init__(self, sam, num_frames, dtype=torch.bfloat16)

    monkeypatch.setattr(session_memory, "SessionBank", Bank)
    monkeypatch.setattr(session_memory, "contradicts_clicks", lambda *_: False)
    monkeypatch.setattr(session_memory, "contradicts_mask", lambda *_: False)


class Theirs:
    """transformers' session with the corrections of SAM-2's own predictor, which transformers lacks."""

    def __init__(self, sam, pixels):
        self.sam = sam
        self.session = Sam2VideoInferenceSession(
            video=pixels, video_height=tracking.SIZE, video_width=tracking.SIZE, dtype=torch.float32
        )
        self.logits, self.scores = {}, {}

    def clicks(self, points):
        points = torch.tensor(points, dtype=torch.float32)
        return {"point_coords": (points[:, :2] * SCALE)[None, None], "point_labels": points[:, 2].int()[None, None]}

    def add(self, frame, points):
        self.session.add_point_inputs(self.session.obj_id_to_idx(1), frame, self.clicks(points))
        self.session.obj_with_new_inputs.append(1)
        self.sam(self.session, frame_idx=frame)

    def walk(self, start, reverse=False):
        for out in self.sam.propagate_in_video_iterator(self.session, start_frame_idx=start, reverse=reverse):
            self.logits[out.frame_idx] = out.pred_masks[0, 0]
            self.scores[out.frame_idx] = out.object_score_logits[0].reshape(())

    @torch.inference_mode()
    def correct(self, frame, points):
        """A conditioning frame; its mask is the dense prompt, and memory is used where the object was tracked."""
        tracked = self.session.frames_tracked_per_obj[0].get(frame)
        out = self.sam._run_single_frame_inference(
            inference_session=self.session,
            frame_idx=frame,
            obj_idx=0,
            batch_size=1,
            is_init_cond_frame=tracked is None,
            point_inputs=self.clicks(points),
            mask_inputs=None,
            reverse=tracked is not None and tracked["reverse"],
            prev_sam_mask_logits=self.logits[frame][None, None].clamp(-32, 32),
        )
        self.session.output_dict_per_obj[0]["non_cond_frame_outputs"].pop(frame, None)
        self.session.store_output(0, frame, output_value=out, is_conditioning_frame=True)
        self.sam._batch_encode_memories(
            inference_session=self.session,
            frame_idx=frame,
            objects_needing_memory_encoding=[0],
            high_res_masks_for_memory=[out["high_res_masks"]],
            object_score_logits_for_memory=[out["object_score_logits"]],
            is_mask_from_pts_per_obj=[True],
        )

    def all(self):
        order = range(LENGTH)
        return torch.stack([self.logits[f] for f in order]), torch.stack([self.scores[f] for f in order])


@pytest.mark.parametrize(("start", "frame"), [(3, 6), (3, 1), (3, 3)], ids=["tracked", "backwards", "first"])
@pytest.mark.parametrize("count", [1, 2])
def test_corrections_equal_sam2(pure_sam2, segmenter, processor, frames, start, frame, count):
    """Without the mask logits as dense prompt, the memory (in the direction of the frame), the multimask rule by the
    number of clicks, or the corrected frame as a conditioning frame, a click gives other masks than SAM-2's."""
    first, fix = [[20, 15, 1]], [[45, 25, 1], [10, 30, 0]][:count]
    theirs = Theirs(segmenter.sam, sam_pixels(processor.sam_image_processor, frames))
    theirs.add(start, first)
    theirs.walk(start)
    theirs.walk(start, reverse=True)
    with session_of(segmenter, processor, frames) as session:
        session.add(frame=start, points=first)
        list(session.propagate())
        assert_same(session, *theirs.all())
        logits, scores = recorded(session)
        theirs.correct(frame, first + fix if frame == start else fix)
        theirs.walk(frame)
        session.correct(0, frame, points=fix)
        assert [r.frame for r in session.propagate()] == list(range(frame, LENGTH))
        assert_same(session, *theirs.all())
        assert torch.equal(recorded(session)[0][:frame], logits[:frame])
        assert (recorded(session)[1][frame:] != scores[frame:])[[0, -1]].all()


def test_an_interrupted_walk_ends_like_one_that_was_not(segmenter, processor, frames):
    """Memories rebuilt after a stop are those the walk would have had: a wrong reach or a lost pointer shows here."""
    with session_of(segmenter, processor, frames) as whole, session_of(segmenter, processor, frames) as parts:
        for session in (whole, parts):
            session.add(frame=4, **PROMPTS["mask"][0])
            session.add(frame=2, **PROMPTS["click"][0])
        list(whole.propagate())
        seen = []
        while parts.objects[0].pending or parts.objects[1].pending:
            for _, result in zip(range(2), parts.propagate(), strict=False):
                seen.append(result.frame)
        for number in (0, 1):
            logits, scores = recorded(whole, number)
            assert_same(parts, logits, scores, number)
        assert sorted(set(seen)) == list(range(LENGTH))


def test_each_frame_is_encoded_once(monkeypatch, segmenter, processor, frames):
    """A new object walks forwards and backwards on one encoding of every frame, the first one included."""
    seen = []
    encode = type(segmenter).encode_frames
    monkeypatch.setattr(
        type(segmenter),
        "encode_frames",
        lambda self, pixels, *rest: seen.append(len(pixels)) or encode(self, pixels, *rest),
    )
    with session_of(segmenter, processor, frames) as session:
        session.add(frame=4, **PROMPTS["mask"][0])
        session.add(frame=4, **PROMPTS["click"][0])
        list(session.propagate())
    assert sum(seen) == LENGTH


def square(top, left, value=4.0):
    logits = torch.full((16, 16), -value)
    logits[top : top + 6, left : left + 6] = value
    return logits


def test_what_contradicts_a_mask_and_what_does_not():
    """A refined mask keeps the object's memories, so does one that was lost or is gone; a mask elsewhere does not."""
    assert not session_memory.contradicts_mask(square(4, 4), square(4, 5), 0.0)
    assert session_memory.contradicts_mask(square(0, 0), square(9, 9), 0.0)
    assert not session_memory.contradicts_mask(square(0, 0), square(9, 9), 5.0)
    assert not session_memory.contradicts_mask(torch.full((16, 16), -1024.0), square(9, 9), 0.0)
    assert not session_memory.contradicts_mask(square(0, 0), torch.full((16, 16), -1024.0), 0.0)


@pytest.mark.parametrize(
    ("clicks", "score", "expected"),
    [
        ([[20, 20, 1]], 1.0, False),
        ([[20, 20, 1], [50, 50, 0]], 1.0, False),
        ([[20, 20, 0]], 1.0, True),
        ([[50, 50, 1]], 1.0, True),
        ([[64, 64, 0]], 1.0, False),  # the corner of the picture lies in its last pixel
        ([[20, 20, 1]], -1.0, True),
    ],
)
def test_what_contradicts_a_click(clicks, score, expected):
    """x and y in the wrong order, or a label read the wrong way round, shows here."""
    clicks = torch.tensor(clicks, dtype=torch.float32)
    mask = square(4, 3)[None]
    found = session_memory.Observation(None, mask, mask, torch.tensor([score]), torch.zeros(1, 4), prompted=True)
    points = clicks[None, :, :2], clicks[None, :, 2].long()
    assert session_memory.contradicts_clicks(found, points, None, 64, MaskOptions().completed()) == expected


@pytest.mark.parametrize(
    ("box", "expected"),
    [([12, 16, 36, 40], False), ([12, 16, 30, 36], False), ([40, 0, 64, 20], True), ([0, 0, 64, 64], True)],
)
def test_what_contradicts_a_box(box, expected):
    mask = square(4, 3)[None]
    found = session_memory.Observation(None, mask, mask, torch.tensor([1.0]), torch.zeros(1, 4), prompted=True)
    options = MaskOptions().completed()
    assert session_memory.contradicts_clicks(found, None, torch.tensor([box]).float(), 64, options) == expected


def test_a_click_is_compared_with_the_mask_that_is_shown():
    """A click inside logits of 4 lies beside the mask of a session whose threshold is 5, or whose object is absent."""
    mask, clicks = square(4, 3)[None], (torch.tensor([[[20.0, 20.0]]]), torch.tensor([[1]]))
    found = session_memory.Observation(None, mask, mask, torch.tensor([-1.0]), torch.zeros(1, 4), prompted=True)
    shown = {(0.0, -2.0): False, (5.0, -2.0): True, (0.0, 0.0): True}
    for thresholds, expected in shown.items():
        options = MaskOptions(*thresholds).completed()
        assert session_memory.contradicts_clicks(found, clicks, None, 64, options) == expected


def test_a_contradicted_object_forgets(segmenter, processor, frames, monkeypatch):
    """After a correction that shows something else, what follows is what a new object of that mask would give."""
    with session_of(segmenter, processor, frames) as session, session_of(segmenter, processor, frames) as new:
        session.add(frame=0, masks=blob(0, 0))
        list(session.propagate())
        before = recorded(session)[0]
        monkeypatch.setattr(session_memory, "contradicts_mask", lambda *_: True)
        session.correct(0, 5, mask=blob(20, 35))
        list(session.propagate())
        new.add(frame=5, masks=blob(20, 35))
        list(new.propagate())
        logits, scores = recorded(new)
        ours, our_scores = recorded(session)
        torch.testing.assert_close(ours[5:], logits[5:], atol=1e-3, rtol=2e-3)
        torch.testing.assert_close(our_scores[5:], scores[5:], atol=1e-3, rtol=0)
        assert torch.equal(ours[:5], before[:5])
