"""Data that are not what they should be: a named error before anybody is asked, and finished answers stay."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.eval.benchmarks.layouts import Oracle, box, write_clips, write_refcoco
from tests.eval.benchmarks.test_ref_davis17 import FIRST, SECOND, write_davis
from tests.training.data.readers.picture_layouts import SIZE, box_mask
from tests.training.data.readers.video_layouts import dump, edit, track

pytestmark = pytest.mark.usefixtures("own_files")

FRAMES = np.full((4, *SIZE, 3), 90, np.uint8)


MASK = np.stack([box_mask(4, 4, 24, 24)] * 4)
SAID = {"0": {"exp": "it", "obj_id": [0], "anno_id": [7], "type_id": 0}}


def write_mevis(root, folder="video_datas/mevis/valid_u", **names):
    write_clips(root / folder, {"v": (FRAMES, SAID)}, masks={7: MASK}, **names)


def write_revos(root):
    write_mevis(root, "video_datas/revos", words="meta_expressions_valid_.json")
    dump({"v": {"masks_rle": track(MASK)}}, root / "video_datas/revos/mask_dict_foreground.json")


def without_kind(words):
    """Takes away the kind of an expression, by which it would be scored."""

    def spoil(root):
        edit(root / words, lambda content: content["videos"]["v"]["expressions"]["0"].pop("type_id"))

    return spoil


def davis_mask(root):
    return root / "video_datas/davis17/valid/Annotations/bear/00002.png"


def as_colours(root):
    Image.open(davis_mask(root)).convert("RGB").save(davis_mask(root))


def as_another_size(root):
    Image.open(davis_mask(root)).resize((30, 20)).save(davis_mask(root))


def as_half_a_file(root):
    davis_mask(root).write_bytes(davis_mask(root).read_bytes()[:40])


CASES = {
    "a palette that was saved as colours": ("ref_davis17-valid", as_colours, "holds colours"),
    "a truth of another size": ("ref_davis17-valid", as_another_size, "20"),
    "a truth that is half a file": ("ref_davis17-valid", as_half_a_file, "00002.png"),
    "a truth without a frame": ("ref_davis17-valid", lambda root: davis_mask(root).unlink(), "00002.png"),
    "codes of fewer frames": (
        "mevis-valid_u",
        lambda root: edit(root / "video_datas/mevis/valid_u/mask_dict.json", lambda codes: codes["7"].pop()),
        "holds 3 masks of id 7, the video has 4 frames",
    ),
    "an expression of no kind, ReVOS": (
        "revos-valid",
        without_kind("video_datas/revos/meta_expressions_valid_.json"),
        "expression 0: .*needs a 'type_id' from 0 to 2, got None",
    ),
    "an expression of no kind, Ref-SAV": (
        "ref_sav-valid",
        without_kind("ref_sav_eval/meta_expressions_valid.json"),
        "expression 0: .*needs a 'type_id' from 0 to 1, got None",
    ),
    "a video without a frame": (
        "mevis-valid_u",
        lambda root: (root / "video_datas/mevis/valid_u/JPEGImages/v/00003.jpg").unlink(),
        "00003.jpg",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_data_are_named_and_finished_answers_stay(case, tmp_path, evaluate):
    """Guards against a score of what is left, and against an evening's answers that are asked for again."""
    name, spoil, told = CASES[case]
    root = tmp_path / "data"
    write = {
        "ref_davis17-valid": lambda: write_davis(root, FIRST + 2 * SECOND),
        "mevis-valid_u": lambda: write_mevis(root),
        "revos-valid": lambda: write_revos(root),
        "ref_sav-valid": lambda: write_mevis(
            root, "ref_sav_eval", words="meta_expressions_valid.json", pictures="videos"
        ),
    }
    write[name]()
    before = evaluate(name, root, {})
    spoil(root)
    again = Oracle({})
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        evaluate(name, root, again)
    shutil.rmtree(root)
    write[name]()
    assert evaluate(name, root, again)["figures"] == before["figures"]
    assert again.asked == []


class Poison:
    """Runs a command where it is unpickled without care."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_poisoned_pickle_is_refused_and_not_run(tmp_path, evaluate):
    root = write_refcoco(tmp_path / "data", {9: [(1, 1, ["the box"])]})
    trace = Path(tmp_path / "trace")
    (root / "ref_seg" / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps([Poison(trace)]))
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p"):
        evaluate("refcoco-unc-val", root, {"1/10": box(1)})
    assert not trace.exists()
