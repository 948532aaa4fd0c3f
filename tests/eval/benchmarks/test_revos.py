"""ReVOS by hand: rounding, groups, robustness, videos with slashes."""

import numpy as np
import pytest

from tests.eval.benchmarks.layouts import write_clips
from tests.training.data.readers.picture_layouts import SIZE, box_mask
from tests.training.data.readers.video_layouts import dump, edit, track

pytestmark = pytest.mark.usefixtures("own_files")

FRAMES = np.full((3, *SIZE, 3), 90, np.uint8)
VIDEO = "UVO/a-b"


def clip(*box, frames=(0, 1, 2)):
    masks = np.zeros((3, *SIZE), bool)
    masks[list(frames)] = box_mask(*box)
    return masks


@pytest.fixture
def root(tmp_path):
    said = {
        "0": {"exp": "the runner", "obj_id": [0], "anno_id": [7], "type_id": 0},
        "1": {"exp": "who runs?", "obj_id": [0], "anno_id": [7], "type_id": 1},
        "2": {"exp": "an elephant", "obj_id": [], "anno_id": [], "type_id": 2},
    }
    folder = tmp_path / "data" / "video_datas" / "revos"
    masks = {7: clip(10, 10, 30, 20)}
    write_clips(folder, {VIDEO: (FRAMES, said)}, masks=masks, words="meta_expressions_valid_.json")
    dump({VIDEO: {"masks_rle": track(masks[7] | clip(40, 10, 50, 20))}}, folder / "mask_dict_foreground.json")
    return tmp_path / "data"


def test_revos(root, evaluate):
    """Referring: the truth on one frame of three. Reasoning: the truth and 100 of 300 foreground pixels beside it.

    J and F 33.33 after rounding; R 1. J 200/300, R 1 - 100/300 on every frame, rounded to 66.67 both.
    """
    both = clip(10, 10, 30, 20) | clip(0, 30, 10, 40)
    report = evaluate("revos-valid", root, {f"{VIDEO}/0": clip(10, 10, 30, 20, frames=(1,)), f"{VIDEO}/1": both})
    figures = report["figures"]
    assert (figures["referring"]["j"], figures["referring"]["f"], figures["referring"]["r"]) == (33.33, 33.33, 100)
    assert (figures["reasoning"]["j"], figures["reasoning"]["r"]) == (66.67, 66.67)
    assert figures["reasoning"]["a"] == pytest.approx(round(100 * (1 - 100 / 3072), 2))
    assert figures["overall"]["j"] == 50
    assert figures["no_such_object"]["j"] == 100
    assert [sample["kind"] for sample in report["samples"]] == ["referring", "reasoning", "no_such_object"]
    assert report["samples"][0]["j"] == pytest.approx(1 / 3)


def test_instances_that_overlap_are_one(tmp_path, evaluate):
    """Guards against sums of bytes: 1 + 1 is no 2, which would be another pixel than the answer's 1, and 1 - 2 no 255.

    Two objects of 200 and 300 pixels share 100: a foreground of 400. The whole answer: all 1. The first object alone:
    J 200/400, A 1 - 200/3072, R 1. The union and 80 pixels beside it: J 400/480, A 1 - 80/3072, R 1 - 80/400.
    """
    first, second, beside = clip(10, 10, 30, 20), clip(20, 10, 50, 20), clip(0, 30, 8, 40)
    said = {
        str(number): {"exp": f"thing {number}", "obj_id": [0, 1], "anno_id": [7, 8], "type_id": kind}
        for number, kind in enumerate((0, 0, 1))
    }
    folder = tmp_path / "data" / "video_datas" / "revos"
    words = {"words": "meta_expressions_valid_.json", "pictures": "."}  # the videos in the folder itself, as Sa2VA's
    write_clips(folder, {VIDEO: (FRAMES, said)}, masks={7: first, 8: second}, **words)
    dump({VIDEO: {"masks_rle": track(first | second)}}, folder / "mask_dict_foreground.json")
    known = {f"{VIDEO}/0": [second, first], f"{VIDEO}/1": first, f"{VIDEO}/2": [first, second, beside]}
    report = evaluate("revos-valid", tmp_path / "data", known)
    whole, part, more = report["samples"]
    assert [whole[name] for name in "jfar"] == [1, 1, 1, pytest.approx(1)]
    assert (part["j"], part["a"], part["r"]) == (0.5, pytest.approx(1 - 200 / 3072), 1)
    assert (more["j"], more["a"]) == (pytest.approx(400 / 480), pytest.approx(1 - 80 / 3072))
    assert more["r"] == pytest.approx(1 - 80 / 400, abs=1e-8)
    assert report["figures"]["referring"]["j"] == 75
    assert report["figures"]["overall"]["r"] == 90


def test_a_foreground_that_does_not_fit_is_named(root, evaluate):
    path = root / "video_datas" / "revos" / "mask_dict_foreground.json"
    edit(path, lambda content: content[VIDEO]["masks_rle"].pop())
    with pytest.raises(ValueError, match=r"sample UVO/a-b/0.*of 3 frames for its video, it has one of 2 frames"):
        evaluate("revos-valid", root, {})
