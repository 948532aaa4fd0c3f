"""Ref-DAVIS17's two protocols."""

import numpy as np
import pytest

from desa2va.eval.metrics.ref_davis import RefDavis17, index_map


def clip(value=1.0, rows=slice(2, 8), columns=slice(2, 8)):
    """Scores of 3 frames of 30 x 40 pixels, `value` in a rectangle."""
    scores = np.zeros((3, 30, 40), np.float32)
    scores[:, rows, columns] = value
    return scores


def test_objects_compete_as_in_referformer():
    """Against its recipe in numpy: below .5 is 0, the background has .1, the highest wins, the first of equals."""
    scores = np.random.default_rng(0).random((4, 3, 20, 30)).astype(np.float32)
    scores[2] = scores[1]
    kept = np.where(scores < 0.5, 0, scores)
    expected = np.concatenate([np.full_like(kept[:1], 0.1), kept]).argmax(axis=0)
    assert np.array_equal(index_map(scores), expected)
    with pytest.raises(ValueError, match="one shape"):
        index_map([])


def truth():
    """Two objects."""
    return (clip() + 2 * clip(1, slice(15, 25), slice(20, 30))).astype(np.uint8)


def test_protocols_differ():
    """One annotator mixes the two objects up: matching forgives it, expression by expression it costs everything."""
    right = [clip(), clip(1, slice(15, 25), slice(20, 30))]
    for protocol, last, whole in (("four_annotators", 1, 1), ("expression", 0, 0.75)):
        scores = RefDavis17(protocol)
        for annotator in range(4):
            scores.add("v", annotator, right[::-1] if annotator == 3 else right, truth())
        figures = scores.compute()
        assert figures["annotators"] == [1, 1, 1, last]
        assert figures["jf"] == figures["j"] == figures["f"] == whole
        assert figures["n"] == 8


def test_void_counts_in_one_protocol_only():
    """Half the object becomes void: nothing is lost where it is taken out, half of J where it is background."""
    found = {}
    for protocol in ("four_annotators", "expression"):
        scores = RefDavis17(protocol)
        real = truth()
        real[:, 2:5][real[:, 2:5] == 1] = 255
        for annotator in range(4):
            scores.add("v", annotator, [clip(), clip(1, slice(15, 25), slice(20, 30))], real)
        found[protocol] = scores.compute()["j"]
    assert found == {"four_annotators": 1, "expression": 0.75}


def test_four_annotators_are_averaged_as_four():
    """An annotator without a video would silently make it a mean of three."""
    scores = RefDavis17()
    scores.add("v", 0, [clip(), clip(0)], truth())
    with pytest.raises(ValueError, match="annotator 1 has no video"):
        scores.compute()
    with pytest.raises(ValueError, match="0 to 3, got 4"):
        scores.add("v", 4, [clip()], truth())
    scores.add("v", 0, [clip(), clip(0)], truth())
    with pytest.raises(ValueError, match="more than once"):
        scores.compute()
    alone = RefDavis17("expression")
    alone.add("v", 2, [clip(), clip(0)], truth())
    assert alone.compute()["annotators"] == [None, None, 0.5, None]
