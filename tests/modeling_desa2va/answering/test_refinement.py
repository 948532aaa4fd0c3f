from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.answering import refinement
from desa2va.modeling_desa2va.answering.refinement import refine_result, refine_small_objects
from desa2va.modeling_desa2va.outputs import MaskPrediction
from desa2va.processing.files.mask_cleanup import MaskOptions
from desa2va.processing.files.mask_codec import encode_mask
from desa2va.processing.inputs.video_io import MemorySource
from desa2va.processing.results.frame_results import FrameObject, FrameResult
from desa2va.processing.results.results import ObjectResult, SegmentationResult

SIZE = (100, 200)


def an_object(number, rows, columns, iou=0.5):
    mask = np.zeros(SIZE, dtype=bool)
    mask[rows, columns] = True
    return FrameObject(number, encode_mask(mask), iou, 0.9)


@pytest.fixture
def small():
    return an_object(0, slice(10, 16), slice(190, 200))


@pytest.fixture
def result(small):
    large = an_object(1, slice(40, 100), slice(0, 100))
    absent = an_object(2, slice(0, 0), slice(0, 0))
    return FrameResult(0, 0.0, *SIZE, [small, large, absent])


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture
def closer(monkeypatch):
    """Stands in for encoder and decoder: the left half of every crop, with the predicted IoU and score it is told."""
    seen = []

    def set_up(iou=0.9, score=5.0):
        def decode(model, processor, image, objects, crops):
            seen.append(crops)
            logits = torch.full((len(objects), 8, 8), -5.0)
            logits[:, :, :4] = 5.0
            return MaskPrediction(logits, torch.full((len(objects),), iou), torch.full((len(objects),), score))

        monkeypatch.setattr(refinement, "_decode", decode)
        return seen

    return set_up


def test_only_small_objects_are_looked_at_and_pasted_where_they_are(result, image, closer):
    """A crop pasted one box beside its place looks like a fine mask of the wrong pixels."""
    seen = closer()
    refined = refine_small_objects(None, None, result, image)
    # 32 pixels around the box, moved into the frame: its upper and right borders are close.
    assert seen == [[(168, 0, 200, 32)]]
    assert refined.objects[0].box == (168, 0, 184, 32)
    assert refined.objects[0].iou_score == pytest.approx(0.9)
    assert refined.objects[1:] == result.objects[1:]
    assert result.objects[0].box == (190, 10, 200, 16)


@pytest.mark.parametrize(("iou", "score"), [(0.4, 5.0), (0.9, -1.0)])
def test_a_less_certain_mask_is_not_kept(result, image, closer, iou, score):
    """A closer look that finds less must not replace what there is."""
    closer(iou, score)
    assert refine_small_objects(None, None, result, image).objects == result.objects


def test_without_small_objects_nothing_is_encoded(result, image, closer):
    seen = closer()
    rest = replace(result, objects=result.objects[1:])
    assert refine_small_objects(None, None, rest, image) is rest
    assert seen == []


def test_new_masks_yield_to_other_objects_where_overlap_is_unwanted(small, image, closer):
    closer()
    neighbour = an_object(1, slice(0, 100), slice(100, 176))
    result = FrameResult(0, 0.0, *SIZE, [small, neighbour])
    overlapping = refine_small_objects(None, None, result, image)
    options = MaskOptions(non_overlapping=True).completed()
    apart = refine_small_objects(None, None, replace(result, options=options), image)
    assert overlapping.objects[0].box == (168, 0, 184, 32)
    assert apart.objects[0].box == (176, 0, 184, 32)


def test_bad_requests_are_named(result, image):
    with pytest.raises(ValueError, match="holds no picture"):
        refine_small_objects(None, None, result)
    with pytest.raises(ValueError, match="the result is 100 x 200"):
        refine_small_objects(None, None, result, image[:50])
    with pytest.raises(ValueError, match="refine_area=0"):
        refine_small_objects(None, None, result, image, refine_area=0)


def test_a_closer_look_sharpens_small_objects(shipped):
    """On a large picture with small shapes the shipped model's masks must come closer to the truth, on average."""
    from desa2va.processing.batch.image_rows import sam_pixels
    from desa2va.processing.results.frame_results import ObjectLabel, frame_result
    from desa2va.training.data.refshapes.paint import paint
    from desa2va.training.data.refshapes.scene import rasterise, sample_picture

    model, processor = shipped
    segmenter, before, after = model.segmenter, [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        drawn = sample_picture(rng, "standard", 384, lambda objects: True)
        scene = rasterise(tuple(replace(item, radius=0.4 * item.radius) for item in drawn.objects), 1, 384)
        image = paint(scene, rng)[0]
        truth = np.stack([scene.mask(number)[0] for number in range(len(scene.objects))])
        spans = [np.nonzero(mask) for mask in truth]
        boxes = [[x.min(), y.min(), x.max() + 1, y.max() + 1] for y, x in spans]
        with torch.no_grad():
            features = segmenter.encode_frames(sam_pixels(processor.sam_image_processor, [image]))
            scaled = torch.tensor(boxes) * segmenter.sam.image_size / 384
            rows = torch.zeros(len(truth), dtype=torch.long)
            first = segmenter.decode(segmenter.sam.mask_decoder, features, rows, boxes=scaled, multimask=False)
        labels = [ObjectLabel(number) for number in range(len(truth))]
        coarse = frame_result(0, 0.0, (384, 384), first, labels, image=image)
        fine = refine_small_objects(model, processor, coarse, refine_area=0.02)
        for scores, found in ((before, coarse), (after, fine)):
            masks = [entry.mask for entry in found.objects]
            scores += [(m & t).sum() / (m | t).sum() for m, t in zip(masks, truth, strict=True)]
    assert np.mean(after) > np.mean(before) + 0.03


def test_mask_and_box_prompt_the_decoder_in_the_pixels_of_the_crop(result, image, small):
    """Coordinates of the frame, or of the crop before it is stretched, prompt a place where the object is not."""
    seen = {}

    def decode(decoder, features, rows, **prompts):
        seen.update(prompts, rows=rows)
        return MaskPrediction(torch.zeros(1, 8, 8), torch.zeros(1), torch.zeros(1))

    sam = torch.nn.Linear(1, 1)  # a module says where it computes
    sam.image_size, sam.mask_decoder, sam.prompt_encoder = 64, None, SimpleNamespace(mask_input_size=(16, 16))
    model = SimpleNamespace(segmenter=SimpleNamespace(sam=sam, decode=decode, encode_frames=lambda pixels: None))
    processor = SimpleNamespace(
        sam_image_processor=lambda images, **_: {"pixel_values": torch.stack([entry.float() for entry in images])}
    )
    refine_small_objects(model, processor, result, image)
    assert seen["boxes"].tolist() == [[44.0, 20.0, 64.0, 32.0]]
    assert seen["dense_masks"].shape == (1, 16, 16)
    inside = (seen["dense_masks"][0] > 0).nonzero()
    assert inside.min(0).values.tolist() == [5, 11]
    assert inside.max(0).values.tolist() == [7, 15]


def test_a_whole_result_is_refined_frame_by_frame(small, image, closer):
    """Every frame must be looked at with its own picture and its own masks; the old result stays as it was."""
    closer()
    big = np.zeros(SIZE, dtype=bool)
    big[40:, :100] = True
    codes = [encode_mask(big), small.code]
    entry = ObjectResult(0, "ok", "", None, None, 1.0, codes, [0.5, 0.5], [0.9, 0.9])
    source = MemorySource([image, image])
    result = SegmentationResult("", "", [entry], "ok", "", *SIZE, 2, None, "clip", source)
    refined = refine_result(None, None, result)
    assert refined.objects[0].codes[0] == codes[0]
    assert refined.objects[0].boxes[1] == (168, 0, 184, 32)
    assert refined.objects[0].iou_scores == [0.5, pytest.approx(0.9)]
    assert result.objects[0].codes == codes
    with pytest.raises(ValueError, match="holds no frames"):
        refine_result(None, None, replace(result, source=None))
