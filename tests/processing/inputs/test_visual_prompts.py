import numpy as np
import pytest
import torch

from desa2va.processing.inputs.visual_prompts import draw_regions, parse_prompts, sam_prompts

SIZE = (20, 40)


def mask_of(rows, columns):
    mask = np.zeros(SIZE, dtype=bool)
    mask[rows, columns] = True
    return mask


def test_outline_surrounds_the_region_and_leaves_its_inside():
    """The language model must still see what is marked."""
    frame = np.full((*SIZE, 3), 90, np.uint8)
    drawn = draw_regions(frame, mask_of(slice(5, 15), slice(10, 30))[None])
    assert (drawn[7:13, 12:28] == 90).all()
    assert (drawn[4, 10:30] == (255, 0, 0)).all()
    assert (drawn[5:15, 30] == (255, 0, 0)).all()
    assert (drawn[:3] == 90).all()
    assert (frame == 90).all()


def test_regions_have_different_colours_and_a_full_one_stays_visible():
    regions = np.stack([np.ones(SIZE, dtype=bool), mask_of(slice(8, 12), slice(8, 12))])
    drawn = draw_regions(np.zeros((*SIZE, 3), np.uint8), regions)
    assert (drawn[0, 0] == (255, 0, 0)).all()
    assert (drawn[8, 8] == (0, 255, 0)).all()
    with pytest.raises(ValueError, match=r"\(R, 20, 40\)"):
        draw_regions(np.zeros((*SIZE, 3), np.uint8), np.ones((1, 20, 41), dtype=bool))


def test_coordinates_scale_by_axis():
    """The picture is squeezed into a square: with one factor for both axes clicks land beside the object."""
    prompts = parse_prompts([[10, 5], [20, 10, 0][:2]], [0, 0, 40, 20], None, SIZE)
    tensors = sam_prompts(prompts, [SIZE], 80, 20)
    assert tensors["prompt_points"].tolist() == [[[20, 20], [40, 40]]]
    assert tensors["prompt_point_labels"].tolist() == [[1, 1]]
    assert tensors["prompt_boxes"].tolist() == [[0, 0, 80, 80]]
    assert tensors["prompt_given"].tolist() == [[True, True, False]]


def test_point_labels_and_padding_of_shorter_lists():
    """-1 is SAM-2's own 'not a point'; 0 would be read as a click beside the object."""
    prompts = parse_prompts([[[1, 2, 0]], [[3, 4, 1], [5, 6, 0]]], None, None, SIZE)
    tensors = sam_prompts(prompts, [SIZE, SIZE], 40, 10)
    assert tensors["prompt_point_labels"].tolist() == [[0, -1], [1, 0]]
    assert tensors["prompt_points"][0].tolist() == [[1, 4], [0, 0]]


def test_masks_become_logits_of_low_resolution():
    prompts = parse_prompts(None, None, mask_of(slice(0, 10), slice(0, 40)), SIZE)
    logits = sam_prompts(prompts, [SIZE], 40, 10)["prompt_masks"]
    assert logits.shape == (1, 10, 10)
    torch.testing.assert_close(logits[0, :4], torch.full((4, 10), 10.0))
    torch.testing.assert_close(logits[0, 6:], torch.full((4, 10), -10.0))


def test_kinds_are_joined_object_by_object():
    masks = torch.zeros(2, *SIZE)
    masks[0, 3, 3] = masks[1, 9, 9] = 1
    prompts = parse_prompts(np.array([[[3, 3]], [[9, 9]]]), [[1, 1, 5, 5], [7, 7, 12, 12]], masks, SIZE)
    assert [entry.box.tolist() for entry in prompts] == [[1, 1, 5, 5], [7, 7, 12, 12]]
    assert [int(entry.mask.sum()) for entry in prompts] == [1, 1]
    assert parse_prompts(None, None, None, SIZE) == []


def test_region_follows_the_most_exact_kind():
    box = parse_prompts(None, [10, 5, 30, 15], None, SIZE)[0].region(*SIZE)
    np.testing.assert_array_equal(box, mask_of(slice(5, 15), slice(10, 30)))
    disc = parse_prompts([[20, 10, 1], [2, 2, 0]], None, None, SIZE)[0].region(*SIZE)
    assert disc[10, 20]
    assert not disc[2, 2]


@pytest.mark.parametrize(
    ("points", "boxes", "masks", "message"),
    [
        ([[41, 5]], None, None, r"cat.png: point \(41, 5\) lies outside the picture of 40 x 20 pixels"),
        ([[5, -1]], None, None, r"point \(5, -1\)"),
        ([[5, 5, 2]], None, None, "labels must be 1"),
        ([[1, 2, 3, 4]], None, None, r"\(k, 2\) or \(k, 3\)"),
        ([[float("nan"), 1]], None, None, "finite"),
        (None, [1, 1, 1, 5], None, r"box \(1, 1, 1, 5\) is empty"),
        (None, [5, 5, 41, 10], None, r"box \(5, 5, 41, 10\) reaches outside the picture of 40 x 20"),
        (None, [5, 5, 10], None, r"\(4,\) or \(O, 4\)"),
        (None, [[1, 1, 5, 5]] * 2, np.ones(SIZE), "different numbers of objects: {'boxes': 2, 'masks': 1}"),
        (None, None, np.ones((20, 41)), r"mask 0 has shape \(20, 41\), the picture is 20 x 40"),
        (None, None, np.zeros(SIZE), "mask 0 has no pixel"),
    ],
)
def test_impossible_prompts_are_named(points, boxes, masks, message):
    with pytest.raises(ValueError, match=message):
        parse_prompts(points, boxes, masks, SIZE, "cat.png")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"masks": np.full((20, 30), np.nan)}, "no finite numbers"),
        ({"masks": np.full((20, 30), "x")}, "no finite numbers"),
        ({"masks": np.full((20, 30), None)}, "no finite numbers"),
        ({"masks": np.full((20, 30), 1j)}, "no finite numbers"),
        ({"masks": []}, "holds no mask"),
        ({"points": [["a", "b"]]}, "must be"),
        ({"points": [["1", "2"]]}, "must be"),
        ({"points": 5}, "must be"),
        ({"points": [[1, np.inf]]}, "finite"),
        ({"points": [[10**400, 1]]}, "must be"),
        ({"points": [[True, False]]}, "must be"),
        ({"points": np.ones((100_000, 2))}, "100000 points, more than 1000"),
        ({"points": [[[1, 1]]] * 1001}, "1001 objects, more than 1000"),
        ({"boxes": "abcd"}, "must be"),
        ({"boxes": [0, 0, np.nan, 5]}, "finite"),
        ({"boxes": np.tile([0, 0, 5, 5], (1001, 1))}, "1001 objects, more than 1000"),
    ],
)
def test_values_that_mark_nothing_are_refused(given, message):
    """NaN is "not zero" and marked the whole picture; 100,000 clicks never came back."""
    with pytest.raises(ValueError, match=message) as caught:
        parse_prompts(given.get("points"), given.get("boxes"), given.get("masks"), (20, 30))
    assert len(str(caught.value)) < 500


def test_tensors_with_history_and_half_precision_mark_objects():
    """`.numpy()` refuses both."""
    points = torch.tensor([[3.0, 4.0]], requires_grad=True)
    mask = torch.ones(20, 30, dtype=torch.bfloat16, requires_grad=True)
    (prompt,) = parse_prompts(points, torch.tensor([0, 0, 5, 5], dtype=torch.bfloat16), mask, (20, 30))
    assert prompt.points.tolist() == [[3.0, 4.0]]
    assert prompt.box.tolist() == [0, 0, 5, 5]
    assert prompt.mask.all()
