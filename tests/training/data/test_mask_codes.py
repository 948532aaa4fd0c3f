"""Masks survive run-length codes and polygons to the pixel."""

import numpy as np
import pytest

from desa2va.processing.files import decode_mask, encode_mask, polygon_code, unite_masks
from desa2va.training.data.mask_codes import mask_to_polygons
from desa2va.training.data.refshapes.dataset import RefShapes

RING = np.zeros((9, 12), bool)
RING[1:8, 2:11] = True
RING[3:6, 5:8] = False


def filled(polygons, size):
    """The union of polygons as the readers make it."""
    return decode_mask(unite_masks([polygon_code(polygon, size) for polygon in polygons]))


def corner_cases():
    random = np.random.default_rng(0)
    yield "empty", np.zeros((5, 7), bool)
    yield "full", np.ones((5, 7), bool)
    yield "ring", RING
    yield "corner to corner", np.eye(6, dtype=bool)
    yield "single pixel", np.pad(np.ones((1, 1), bool), ((4, 0), (0, 6)))
    for share in (0.2, 0.5, 0.8):
        yield f"noise {share}", random.random((23, 31)) < share


@pytest.mark.parametrize(("name", "mask"), [pytest.param(*case, id=case[0]) for case in corner_cases()])
def test_codes_and_polygons_are_exact(name, mask):
    """Guards holes that fill, touching corners that merge, edges that shift by half a pixel in pycocotools."""
    assert np.array_equal(decode_mask(encode_mask(mask)), mask)
    polygons = mask_to_polygons(mask)
    assert not polygons or np.array_equal(filled(polygons, mask.shape), mask)
    assert all(len(polygon) >= 8 for polygon in polygons)
    assert bool(polygons) == bool(mask.any())


def test_polygons_stop_only_where_the_edge_turns():
    """Guards files that grow with the width of an object: a rectangle has four corners."""
    mask = np.zeros((20, 30), bool)
    mask[4:9, 3:25] = True
    assert mask_to_polygons(mask) == [[3, 4, 25, 4, 25, 9, 3, 9]]


def test_all_refshapes_outlines_are_exact():
    """Guards the six real outlines, overlaps included."""
    for sample in RefShapes("train", "full", length=15, conversations=1):
        for index in range(len(sample.scene["objects"])):
            mask = sample.scene["instance_map"][0] == index + 1
            assert np.array_equal(filled(mask_to_polygons(mask), mask.shape), mask)


def test_bytes_counts_are_accepted():
    """Guards codes that come from a pickle, whose counts are bytes."""
    code = encode_mask(RING)
    assert np.array_equal(decode_mask({**code, "counts": code["counts"].encode()}), RING)
