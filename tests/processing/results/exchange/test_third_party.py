import sys

import numpy as np
import pytest


def test_supervision_holds_the_masks(clip):
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    for t in range(3):
        found = clip.to_supervision(t)
        assert isinstance(found, supervision.Detections)
        seen = [entry for entry in clip.objects if entry.areas[t]]
        assert len(found) == len(seen)
        assert found.mask.shape == (len(seen), 10, 15)
        assert found.xyxy.tolist() == [list(entry.boxes[t]) for entry in seen]
        assert found.tracker_id.tolist() == [entry.object_id for entry in seen]
        for mask, entry in zip(found.mask, seen, strict=True):
            np.testing.assert_array_equal(mask, entry.mask(t))
    first = clip.to_supervision(0)
    assert first.data["class_name"].tolist() == ["red circle", "object"]
    assert first.class_id.tolist() == [1, 0]
    # What supervision does with it: filtering, joining, and drawing on the frame.
    assert len(supervision.Detections.merge([first[first.confidence > 0.4], clip.to_supervision(1)])) == 2
    frame = clip.source.read([0])[0]
    drawn = supervision.MaskAnnotator().annotate(frame.copy(), first)
    assert (drawn != frame).any(axis=2)[clip.objects[1].mask(0)].any()


def test_fiftyone_holds_the_masks(clip):
    fiftyone = pytest.importorskip("fiftyone", reason="fiftyone is not installed")
    for t in range(3):
        found = clip.to_fiftyone(t)
        assert isinstance(found, fiftyone.Detections)
        seen = [entry for entry in clip.objects if entry.areas[t]]
        assert [one.index for one in found.detections] == [entry.object_id for entry in seen]
        for one, entry in zip(found.detections, seen, strict=True):
            whole = one.to_segmentation(frame_size=(15, 10)).mask
            np.testing.assert_array_equal(whole > 0, entry.mask(t))
            assert (one.label, one.confidence) == ("red circle" if entry.phrase else "object", 0.5)


@pytest.mark.parametrize(("name", "method"), [("supervision", "to_supervision"), ("fiftyone", "to_fiftyone")])
def test_an_absent_package_is_named_with_what_installs_it(clip, monkeypatch, name, method):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f"{name} can not be imported .*: pip install {name}"):
        getattr(clip, method)()
