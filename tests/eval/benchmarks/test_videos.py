"""Benchmarks of videos in their own layouts, with figures worked out by hand, and what their servers take."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.runner import Run
from desa2va.eval.benchmarks.submission import MaskZip
from tests.eval.benchmarks.layouts import write_clips
from tests.training.data.readers.picture_layouts import SIZE, box_mask
from tests.training.data.readers.video_layouts import dump

FRAMES = np.full((4, *SIZE, 3), 90, np.uint8)


def clip(*box, frames=(0, 1, 2, 3)):
    """A box on some of four frames."""
    masks = np.zeros((4, *SIZE), bool)
    masks[list(frames)] = box_mask(*box)
    return masks


def test_mevis_valid_u(tmp_path, evaluate):
    """One wider than the truth by a pixel; one on half of the frames; one of two objects without an answer.

    J 200/210 and F 1 (every boundary lies within the disk of one pixel); J and F 1/2; J and F 0.
    """
    said = {
        "0": {"exp": "The runner", "obj_id": [0], "anno_id": [7]},
        "1": {"exp": "the sitter", "obj_id": [1], "anno_id": [8]},
        "2": {"exp": "both", "obj_id": [0, 1], "anno_id": [7, 8]},
    }
    masks = {7: clip(10, 10, 30, 20), 8: clip(40, 10, 50, 20)}
    root = tmp_path / "data"
    write_clips(root / "video_datas/mevis/valid_u", {"v": (FRAMES, said)}, masks=masks)
    known = {"v/0": clip(10, 10, 31, 20), "v/1": clip(40, 10, 50, 20, frames=(0, 2))}
    report = evaluate("mevis-valid_u", root, known)
    assert [sample["id"] for sample in report["samples"]] == ["v/0", "v/1", "v/2"]
    assert [sample["j"] for sample in report["samples"]] == [pytest.approx(200 / 210), 0.5, 0]
    assert [sample["f"] for sample in report["samples"]] == [1, 0.5, 0]
    assert report["figures"]["j"] == pytest.approx((200 / 210 + 0.5) / 3)
    assert report["figures"]["f"] == pytest.approx(0.5)
    assert report["figures"]["jf"] == pytest.approx((200 / 210 + 0.5 + 1.5) / 6)


def test_mevis_with_its_traps(tmp_path, evaluate):
    """Two objects that overlap are one mask; on a frame where nothing is, nothing is right; ids are texts.

    Frames begin with 00007. The objects share 10 x 10 pixels; the second is null on half of the frames. "0": the
    union on frames 0 and 1, the first alone on 2 and 3, is all right. "2": the first object, seen on the first frame
    alone, answered nowhere: J and F 3/4. "10": truth and answer apart.
    """
    first, second = clip(10, 10, 30, 20), clip(20, 10, 50, 20, frames=(0, 1))
    masks = {7: first, 8: second, 9: clip(0, 0, 9, 9, frames=(0,))}
    said = {"0": [7, 8], "2": [9], "10": [8]}
    said = {key: {"exp": f"What {key}?", "obj_id": [0], "anno_id": ids} for key, ids in said.items()}
    root = tmp_path / "data"
    write_clips(root / "video_datas/mevis/valid_u", {"v": (FRAMES, said)}, masks=masks, first=7)
    known = {"v/0": [second, first], "v/10": clip(0, 40, 9, 48)}
    report = evaluate("mevis-valid_u", root, known)
    assert [sample["id"] for sample in report["samples"]] == ["v/0", "v/10", "v/2"]
    assert [sample["j"] for sample in report["samples"]] == [1, 0, 0.75]
    assert [sample["f"] for sample in report["samples"]] == [1, 0, 0.75]
    assert report["figures"]["jf"] == pytest.approx(1.75 / 3)


def test_ref_sav(tmp_path, evaluate):
    """Long descriptions 100 and 0, short ones 50: overall is the mean of the groups, not of the samples."""
    said = {
        str(number): {"exp": f"thing {number}", "obj_id": [0], "anno_id": [7], "type_id": kind}
        for number, kind in enumerate((0, 0, 1))
    }
    root = tmp_path / "data"
    folder = root / "ref_sav_eval"
    write_clips(
        folder,
        {"v": (FRAMES, said)},
        masks={7: clip(10, 10, 30, 20)},
        words="meta_expressions_valid.json",
        pictures="videos",
    )
    known = {"v/0": clip(10, 10, 30, 20), "v/2": clip(10, 10, 30, 20, frames=(1, 2))}
    report = evaluate("ref_sav-valid", root, known)
    assert [sample["group"] for sample in report["samples"]] == ["long", "long", "short"]
    figures = report["figures"]
    assert (figures["long"]["jf"], figures["short"]["jf"], figures["overall"]["jf"]) == (50, 50, 50)
    known["v/1"] = known["v/0"]
    again = evaluate("ref_sav-valid", root, known, out="again")["figures"]
    assert (again["long"]["jf"], again["short"]["jf"], again["overall"]["jf"]) == (100, 50, 75)
    alone = evaluate("ref_sav-valid", root, known, out="alone", limit=1)["figures"]
    assert (alone["short"], alone["overall"]) == (None, None)


def test_ref_sav_with_its_traps(tmp_path, evaluate):
    """Each percentage is rounded before the mean; instances that overlap are one; frames are named from 100000 on.

    Long: 90 of 200 on one frame of three, which rounds to 15.00, and a third, 33.33. Short: an overlap of two objects,
    wholly found. A of the first: 110 of 3,072 pixels wrong on one frame, 200 on two.
    """
    thing, other = clip(10, 10, 30, 20)[:3], clip(20, 10, 40, 20)[:3]
    said = {"0": ([7], 0), "1": ([7], 0), "2": ([7, 8], 1)}
    said = {k: {"exp": k, "obj_id": [0], "anno_id": ids, "type_id": kind} for k, (ids, kind) in said.items()}
    root = tmp_path / "data"
    place = {"words": "meta_expressions_valid.json", "pictures": "videos", "first": 100000, "step": 4}
    write_clips(root / "ref_sav_eval", {"v": (FRAMES[:3], said)}, masks={7: thing, 8: other}, **place)
    part, third = clip(10, 10, 19, 20, frames=(1,))[:3], clip(10, 10, 30, 20, frames=(2,))[:3]
    figures = evaluate("ref_sav-valid", root, {"v/0": part, "v/1": third, "v/2": [thing, other]})["figures"]
    assert figures["long"]["j"] == pytest.approx((15 + 33.33) / 2, abs=1e-12)
    wrong = [(110 + 200 + 200) / 3 / 3072, (200 + 200) / 3 / 3072]
    assert figures["long"]["a"] == pytest.approx(sum(round(100 * (1 - share), 2) for share in wrong) / 2, abs=1e-12)
    assert (figures["short"]["j"], figures["short"]["f"], figures["short"]["a"]) == (100, 100, 100)
    assert figures["overall"]["j"] == pytest.approx((figures["long"]["j"] + 100) / 2)


@pytest.fixture
def mevis(tmp_path):
    """MeViS' `valid`: no masks; and what an oracle says."""
    root = tmp_path / "data"
    said = {"0": {"exp": "the runner"}, "1": {"exp": "nobody"}}
    write_clips(root / "video_datas/mevis/valid", {"a": (FRAMES, said), "b": (FRAMES[:2], {"0": {"exp": "it"}})})
    return root, {"a/0": clip(10, 10, 30, 20, frames=(0, 3)), "b/0": clip(0, 0, 5, 5)[:2]}


def read_mask(file, name):
    with Image.open(io.BytesIO(file.read(name))) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


def test_mevis_submission(mevis, evaluate, tmp_path):
    """Guards the layout: videos at the root of the zip, a picture for every frame, also of what was not found."""
    root, known = mevis
    report = evaluate("mevis-valid", root, known)
    assert report["figures"] == {}
    assert report["submission"] == {"file": "submission.zip", "pictures": 10}
    with zipfile.ZipFile(tmp_path / "out" / "submission.zip") as file:
        expected = {f"a/{exp}/{t:05d}.png" for exp in (0, 1) for t in range(4)} | {"b/0/00000.png", "b/0/00001.png"}
        assert set(file.namelist()) == expected
        assert np.array_equal(read_mask(file, "a/0/00003.png"), known["a/0"][3] * np.uint8(255))
        assert not read_mask(file, "a/0/00001.png").any()
        assert not read_mask(file, "a/1/00000.png").any()
    before = (tmp_path / "out" / "submission.zip").read_bytes()
    evaluate("mevis-valid", root, known, out="again")
    assert (tmp_path / "again" / "submission.zip").read_bytes() == before
    assert "submission" not in evaluate("mevis-valid", root, known, out="part", limit=2)
    assert not (tmp_path / "part" / "submission.zip").exists()


def test_ref_youtube_vos_submission(tmp_path, evaluate):
    """Below `Annotations/`, frames named as listed, without the videos of test."""
    root = tmp_path / "data"
    folder = root / "video_datas" / "rvos"
    said = {"0": {"exp": "a cat"}}
    write_clips(folder / "valid", {"a": (FRAMES, said), "b": (FRAMES, said)}, step=5, words="w.json")
    frames = [f"{t:05d}" for t in (0, 5, 10, 15)]
    both = {name: {"frames": frames, "expressions": said} for name in ("a", "b")}
    dump({"videos": both}, folder / "meta_expressions/valid/meta_expressions.json")
    dump({"videos": {"b": both["b"]}}, folder / "meta_expressions/test/meta_expressions.json")
    report = evaluate("ref_youtube_vos-valid", root, {"a/0": clip(10, 10, 30, 20)})
    assert report["submission"]["pictures"] == 4
    with zipfile.ZipFile(tmp_path / "out" / "submission.zip") as file:
        assert file.namelist() == [f"Annotations/a/0/{frame}.png" for frame in frames]
        assert np.array_equal(read_mask(file, "Annotations/a/0/00015.png"), clip(10, 10, 30, 20)[3] * np.uint8(255))


def test_a_wrong_submission_is_told_by_the_picture(mevis, evaluate, tmp_path):
    """A server says less, and takes few tries."""
    root, known = mevis
    evaluate("mevis-valid", root, known)
    with zipfile.ZipFile(tmp_path / "out" / "submission.zip") as file:
        content = {name: file.read(name) for name in file.namelist()}
    plan = Run(open_benchmark("mevis-valid"), root, tmp_path / "out").plan()
    questions = [question for _, questions in plan.all_questions() for question in questions]
    path = tmp_path / "changed.zip"

    def told(**changes):
        with zipfile.ZipFile(path, "w") as file:
            for name, data in {**content, **changes}.items():
                if data is not None:
                    file.writestr(name, data)
        with pytest.raises(ValueError) as error:  # noqa: PT011
            MaskZip("").check(path, questions)
        return str(error.value)

    def png(pixels, kind="PNG"):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, format=kind)
        return stream.getvalue()

    name = "a/1/00002.png"
    assert f"{name} is missing" in told(**{name: None})
    assert "a/2/00000.png belongs to no sample" in told(**{"a/2/00000.png": content[name]})
    assert f"{name} is (20, 30), its frame is {SIZE}" in told(**{name: png(np.zeros((20, 30), np.uint8))})
    assert f"{name} holds values other than 0 and 255" in told(**{name: png(np.ones(SIZE, np.uint8))})
    assert f"{name} is a PNG of mode RGB" in told(**{name: png(FRAMES[0])})
    assert f"{name} is a JPEG of mode L" in told(**{name: png(np.zeros(SIZE, np.uint8), "JPEG")})
    assert f"{name} is no picture" in told(**{name: b"nothing"})
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no zip that can be read"):
        MaskZip("").check(path, questions)
