"""Ref-DAVIS17: both protocols by hand, in the converted layout; what an expression does not name; overlaps."""

import json
import pickle

import numpy as np
import pytest

from desa2va.eval import evaluate_desa2va
from tests.eval.benchmarks.layouts import Oracle, answer_of
from tests.training.data.readers.picture_layouts import SIZE, box_mask
from tests.training.data.readers.video_layouts import dump, track, write_frames, write_indices

FRAMES = np.full((4, *SIZE, 3), 90, np.uint8)
FIRST, SECOND = np.stack([box_mask(4, 4, 24, 24)] * 4), np.stack([box_mask(30, 10, 50, 40)] * 4)


def write_davis(root, maps, objects=2):
    """Objects with four expressions each, in the shape of Refer-YouTube-VOS."""
    folder = root / "video_datas" / "davis17"
    names = write_frames(folder / "valid" / "JPEGImages" / "bear", FRAMES)
    write_indices(folder / "valid" / "Annotations" / "bear", maps.astype(np.uint8), names)
    said = {str(k): {"exp": f"object {k // 4 + 1}", "obj_id": str(k // 4 + 1)} for k in range(4 * objects)}
    words = {"videos": {"bear": {"frames": names, "expressions": said}}}
    dump(words, folder / "meta_expressions" / "valid" / "meta_expressions.json")
    return root


def found(*annotators):
    """Answers by id: for each annotator those to the first and the second object."""
    known = {}
    for k, (first, second) in enumerate(annotators):
        known |= {f"bear/{k}": first, f"bear/{4 + k}": second}
    return known


def test_both_protocols(tmp_path, evaluate):
    """Annotator 0 finds both objects, 1 finds them the wrong way round, 2 the first alone, 3 nothing.

    Matched by DAVIS: 1, 1, 1/2, 0, mean 5/8. Each expression alone: 1, 0, 1/2, 0 (boundaries apart by more than a
    pixel), mean 3/8.
    """
    root = write_davis(tmp_path / "data", FIRST + 2 * SECOND)
    known = found((FIRST, SECOND), (SECOND, FIRST), (FIRST, None), (None, None))
    report = evaluate("ref_davis17-valid", root, known)
    assert report["n"] == 8
    figures = report["figures"]
    assert figures["expression"]["jf"] == pytest.approx(3 / 8)
    assert figures["four_annotators"]["annotators"] == [1, 1, 0.5, 0]
    assert figures["four_annotators"]["jf"] == figures["four_annotators"]["j"] == pytest.approx(5 / 8)
    assert {sample["id"]: sample["annotator"] for sample in report["samples"]}["bear/6"] == 2


def test_an_object_that_nobody_names_counts_and_void_pixels_do_not(tmp_path, evaluate):
    """The unsupervised truth is the mask picture: three objects, one of them never asked for."""
    maps = FIRST + 2 * SECOND
    maps[:, :3, 55:] = 3
    maps[:, 44:, :] = 255
    root = write_davis(tmp_path / "data", maps)
    over = SECOND.copy()
    over[:, 44:, 30:50] = True
    report = evaluate("ref_davis17-valid", root, found(*[(FIRST, over)] * 4))
    figures = report["figures"]["four_annotators"]
    assert figures["n"] == 4 * 3
    assert figures["jf"] == pytest.approx(2 / 3)
    assert report["figures"]["expression"]["j"] == pytest.approx((1 + 600 / 680) / 2)  # there void is background


def test_an_object_that_comes_later_does_not_count(tmp_path, evaluate):
    """As many objects are scored as the first true frame's highest number says: two. The third's expressions are
    asked for all the same, and what is said to them takes its pixels.

    The answer to the third lies on half of the second on one of four frames: J of that (3 + 1/2) / 4. Alone, each
    expression counts: J 1, 1, and of the third 3/4, wrong on the one frame.
    """
    late = np.zeros_like(FIRST)
    late[3, 44:, :] = True
    root = write_davis(tmp_path / "data", FIRST + 2 * SECOND + 3 * late, objects=3)
    third = late.copy()
    third[2, 10:25, 30:50] = True
    known = {f"bear/{k}": (FIRST, answer_of(SECOND, scores=[0.5]), answer_of(third))[k // 4] for k in range(12)}
    figures = evaluate("ref_davis17-valid", root, known)["figures"]
    assert figures["four_annotators"]["n"] == 4 * 2
    assert figures["four_annotators"]["j"] == pytest.approx((1 + (3 + 1 / 2) / 4) / 2)
    assert figures["expression"]["j"] == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_masks_as_a_pickle_and_the_published_files(tmp_path, evaluate):
    """The same figures from VISA's `mask_dict.pkl`, numbered by ids as texts (0, 1, 10, 11, 2), and from DAVIS' own
    folders with the four files of expressions, two of them Latin-1.

    Each of three objects is found by annotators 0 and 2 alone: J&F 1/2.
    """
    third = np.stack([box_mask(52, 0, 64, 8)] * 4)
    masks = (FIRST, SECOND, third)
    maps = FIRST + 2 * SECOND + 3 * third
    known = {f"bear/{k}": masks[k // 4] for k in range(0, 12, 2)}
    pictures = write_davis(tmp_path / "data", maps, objects=3)
    folder = pictures / "video_datas" / "davis17"
    reports = [evaluate("ref_davis17-valid", pictures, known, out="pictures")]
    codes = [track(masks[int(text) // 4]) for text in sorted(map(str, range(12)))]
    (folder / "valid" / "mask_dict.pkl").write_bytes(pickle.dumps(dict(zip(map(str, range(12)), codes, strict=True))))
    (folder / "valid" / "Annotations").rename(tmp_path / "masks")
    reports.append(evaluate("ref_davis17-valid", pictures, known, out="pickle"))
    davis = tmp_path / "published" / "video_datas" / "davis17" / "DAVIS"
    for place, found in (
        ("JPEGImages", folder / "valid/JPEGImages"),
        ("Annotations_unsupervised", tmp_path / "masks"),
    ):
        (davis / place).mkdir(parents=True)
        found.rename(davis / place / "480p")
    (davis / "ImageSets" / "2017").mkdir(parents=True)
    (davis / "ImageSets" / "2017" / "val.txt").write_text("bear\n")
    texts = davis.parent / "davis_text_annotations"
    texts.mkdir()
    for name, encoding in zip(
        ("1", "1_full_video", "2", "2_full_video"), ("utf-8",) * 2 + ("latin-1",) * 2, strict=True
    ):
        lines = [f'bear {number} "the café {number}"\n' for number in (1, 2, 3)]
        (texts / f"Davis17_annot{name}.txt").write_text("".join(lines), encoding=encoding)
    reports.append(evaluate("ref_davis17-valid", tmp_path / "published", known, out="published"))
    for report in reports:
        assert report["figures"]["four_annotators"]["annotators"] == [1, 0, 1, 0]
        assert report["figures"]["expression"]["jf"] == 1 / 2
    assert reports[2]["samples"][0]["expression"] == "the café 1"


def test_a_pixel_of_two_objects_goes_to_the_surer_one(tmp_path, evaluate):
    """The second claims the first, too: with the higher score it takes everything."""
    root = write_davis(tmp_path / "data", FIRST + 2 * SECOND)
    for score, expected in ((0.4, 1), (0.9, 600 / 1000 / 2)):
        second = answer_of(FIRST | SECOND, scores=[score])
        first = answer_of(FIRST, scores=[0.5])
        report = evaluate("ref_davis17-valid", root, found(*[(first, second)] * 4), out=f"at{score}")
        assert report["figures"]["four_annotators"]["j"] == pytest.approx(expected)


def test_a_video_asked_about_in_part_is_left_to_the_other_protocol(tmp_path, evaluate):
    root = write_davis(tmp_path / "data", FIRST + 2 * SECOND)
    report = evaluate("ref_davis17-valid", root, found(*[(FIRST, SECOND)] * 4), limit=5)
    assert report["figures"]["four_annotators"] is None
    assert report["figures"]["expression"]["n"] == 5


def test_the_first_of_equals_is_the_first_object(tmp_path, evaluate):
    """Guards against the order of ids as text, in which expression 12, of the fourth object, comes before 4.

    The second object's answer is right, the fourth's claims both, as sure: it is left with what is its own, so two of
    four objects are whole. In the other order it had everything, (600 / 1000) / 4.
    """
    maps = 2 * FIRST + 4 * SECOND
    maps[:, :3, 60:], maps[:, 45:, :4] = 1, 3
    root = write_davis(tmp_path / "data", maps, objects=4)
    claims = {1: FIRST, 3: FIRST | SECOND}
    report = evaluate("ref_davis17-valid", root, {f"bear/{k}": claims.get(k // 4) for k in range(16)})
    figures = report["figures"]["four_annotators"]
    assert figures["n"] == 16
    assert figures["j"] == pytest.approx(2 / 4)


def test_an_annotator_is_asked_at_once(tmp_path, evaluate):
    """Guards the contest against small batches: whatever its size, the objects of one annotator share a unit."""
    root = write_davis(tmp_path / "data", FIRST + 2 * SECOND)
    oracle = Oracle(found(*[(FIRST, SECOND)] * 4))
    report = evaluate("ref_davis17-valid", root, oracle, batch_size=1)
    assert oracle.asked == [[f"bear/{k}", f"bear/{4 + k}"] for k in range(4)]
    assert report["figures"]["four_annotators"]["jf"] == 1


def test_baselines_have_no_probabilities(tmp_path):
    """The floor is measured as before, and the report says by which rule."""
    root = write_davis(tmp_path / "data", FIRST + 2 * SECOND)
    words = ["ref_davis17-valid", "--data", str(root), "--out", str(tmp_path / "whole"), "--baseline", "whole"]
    assert evaluate_desa2va.main(words) == 0
    figures = json.loads((tmp_path / "whole" / "report.json").read_text())["figures"]["four_annotators"]
    assert (figures["views"], figures["views_by_probability"]) == (4, 0)
    assert figures["j"] == pytest.approx(600 / (48 * 64) / 2)
