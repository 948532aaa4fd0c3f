"""MeViS: masks by annotation ids, several objects in one, splits without masks."""

import numpy as np
import pytest
from PIL import Image

from desa2va.training.data.mask_codes import encode_mask
from desa2va.training.data.readers import READERS
from desa2va.training.data.readers.mevis import mevis_status, read_mevis
from desa2va.training.data.record_dataset import RecordDataset
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.data.refshapes.disk import write_refshapes
from tests.training.data.readers.video_layouts import OPTIONS, by_exp, dump, edit, load, masks_of, same, split_up

SPLITS = {"train": 3, "valid_u": 1, "valid": 2, "test": 1}


@pytest.fixture
def root(tmp_path):
    """The set as RefShapes writes it."""
    write_refshapes(
        tmp_path / "video_datas" / "mevis",
        "mevis",
        splits=SPLITS,
        progress=False,
        conversations=3,
        size=OPTIONS["size"],
    )
    return tmp_path


@pytest.fixture
def train(root):
    return root / "video_datas" / "mevis" / "train"


@pytest.mark.parametrize("split", ["train", "valid_u"])
def test_masks_are_those_of_the_scene(root, split):
    """Guards against masks of another video's objects, and against frames out of step with them."""
    records, errors = split_up(read_mevis(root, split))
    samples = RefShapes(split, "full", length=SPLITS[split], conversations=3, **OPTIONS)
    assert not errors
    assert len(records) == SPLITS[split]
    for record, sample in zip(records, samples, strict=True):
        assert (record.num_frames, record.size) == (len(sample.frames), sample.frames.shape[1:3])
        assert record.is_video
        assert record.fps is None
        assert [path[-9:] for path in record.paths] == [f"{t:05d}.jpg" for t in range(record.num_frames)]
        assert record.source == f"mevis/{split}"
        for dialogue, conversation in zip(record.dialogues, sample.conversations, strict=True):
            assert np.array_equal(masks_of(record, dialogue), conversation.masks.any(0))
            assert dialogue.ids["video"] == record.name


def test_all_annotations_of_an_expression_are_united(root, train):
    """Guards against the first object alone, and against uint8 sums, where two objects on one pixel make 2."""
    both = np.zeros((2, 6, 32, 32), bool)
    both[0, :, :9], both[1, 1:, 6:20] = True, True

    def change(content):
        content["900"] = [encode_mask(frame) for frame in both[0]]
        content["901"] = [encode_mask(frame) if frame.any() else None for frame in both[1]]

    edit(train / "mask_dict.json", change)
    entries = {
        "0": {"exp": "both  of\nthem ", "obj_id": [0, 1], "anno_id": [900, 901]},
        "1": {"exp": "The upper One", "obj_id": [0], "anno_id": [900]},
        "2": {"exp": "those two", "obj_id": [1, 0], "anno_id": [901, 900]},
        "3": {"exp": "the third", "obj_id": [], "anno_id": []},
        "10": {"exp": "Which is the upper one?", "obj_id": [0], "anno_id": [900]},
    }
    edit(train / "meta_expressions.json", lambda c: next(iter(c["videos"].values())).update(expressions=entries))
    record = split_up(read_mevis(root, "train"))[0][0]
    said = by_exp(record)
    assert list(said) == ["0", "1", "10", "2", "3"]
    assert same(record, "0", both.any(0))
    assert same(record, "1", both[0])
    assert said["0"].turns[0][0] == "Please segment both of them."
    assert said["1"].turns[0][0] == "Please segment the upper one."
    assert said["10"].turns[0][0] == "Which is the upper one?"
    assert said["0"].ids == {
        "video": record.name,
        "exp_id": "0",
        "exp": "both  of\nthem ",
        "text": "both of them",
        "obj_id": "0,1",
        "anno_id": "900,901",
    }
    assert said["0"].group == said["2"].group
    assert said["1"].group == said["10"].group != said["0"].group
    assert said["3"].kind == "no_target"
    assert said["3"].group is None


@pytest.mark.parametrize("split", ["valid", "test"])
def test_splits_without_masks_have_questions_alone(root, split):
    """Guards against "there is no ..." as the truth of expressions whose masks are merely not published."""
    records, errors = split_up(read_mevis(root, split))
    assert not errors
    assert len(records) == SPLITS[split]
    for record in records:
        assert record.num_frames == 6
        for dialogue in record.dialogues:
            assert (dialogue.kind, dialogue.targets) == ("unlabelled", ())
            assert dialogue.turns[0][1] == ""
            assert set(dialogue.ids) == {"video", "exp_id", "exp", "text"}
    with pytest.raises(ValueError, match=f"mevis/{split}: the answers of this split are not public"):
        RecordDataset(records, f"mevis/{split}")


def test_frames_are_sorted(root, train):
    """Masks belong to the sorted frames, in whatever order the file lists them."""
    before = split_up(read_mevis(root, "train"))[0]
    edit(train / "meta_expressions.json", lambda c: [video["frames"].reverse() for video in c["videos"].values()])
    assert split_up(read_mevis(root, "train"))[0] == before


def test_a_list_of_codes_on_one_frame(root, train):
    """A frame may hold a list of codes, which are united."""
    halves = np.zeros((2, 32, 32), bool)
    halves[0, :4], halves[1, 3:8] = True, True
    whole = [[encode_mask(half) for half in halves], *[None] * 5]
    edit(train / "mask_dict.json", lambda c: c.update(dict.fromkeys(c, whole)))
    record = split_up(read_mevis(root, "train"))[0][0]
    assert masks_of(record, record.dialogues[0]).sum((1, 2)).tolist() == [8 * 32, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        (lambda video, codes: codes.pop("0"), "expression", "holds no masks of id 0"),
        (lambda video, codes: codes["0"].pop(), "expression", "holds 5 masks of id 0, the video has 6 frames"),
        (lambda video, codes: codes["0"][0].update(size=[32, 31]), "expression", "frame 0: the code is"),
        (lambda video, codes: video["frames"].append("00077"), "video", "no file .*00077.jpg"),
        (lambda video, codes: video["frames"].append("../../../../x"), "video", "leads out of"),
        (lambda video, codes: video.update(frames=[]), "video", "list of names of one frame or more"),
        (lambda video, codes: video["expressions"]["0"].pop("exp"), "expression 0", "needs its words"),
        (lambda video, codes: video["expressions"]["0"].pop("anno_id"), "expression 0", "needs the list 'anno_id'"),
    ],
)
def test_what_is_wrong_is_named_and_the_rest_read(root, train, change, field, message):
    """Guards against one broken row that stops a whole set, and against rows that go missing silently."""
    content, codes = load(train / "meta_expressions.json"), load(train / "mask_dict.json")
    name = min(content["videos"])
    content["videos"][name]["expressions"]["0"]["anno_id"] = [0]
    codes["0"][0] = encode_mask(np.ones((32, 32), bool))
    change(content["videos"][name], codes)
    dump(content, train / "meta_expressions.json")
    dump(codes, train / "mask_dict.json")
    records, errors = split_up(read_mevis(root, "train"))
    assert errors
    for error in errors:
        assert error.record == f"{train / 'meta_expressions.json'}, video {name}"
        assert error.field.startswith(field)
        with pytest.raises(type(error), match=message):
            raise error
    assert sum(len(record.dialogues) for record in records) >= 6
    assert (name in {record.name for record in records}) == (field != "video")


def test_another_size_of_picture_is_no_match(root, train):
    """Guards against masks of 854 pixels on pictures of 910: the size is the picture's, never assumed."""
    for path in (train / "JPEGImages").glob("*/00000.jpg"):
        Image.new("RGB", (40, 32)).save(path)
    records, errors = split_up(read_mevis(root, "train"))
    assert not records
    assert "the picture is [32, 40]" in str(errors[0])


def test_what_cannot_be_read_at_all(root, train):
    with pytest.raises(ValueError, match="mevis has no split 'val'; it has train, valid_u, valid, test"):
        list(read_mevis(root, "val"))
    (train / "mask_dict.json").unlink()
    with pytest.raises(FileNotFoundError, match="no annotation file .*mask_dict.json"):
        list(read_mevis(root, "train"))
    (train / "meta_expressions.json").write_text('{"videos": []}')
    with pytest.raises(ValueError, match="meta_expressions.json: expected"):
        list(read_mevis(root, "train"))


def test_status(root, train):
    """An unfinished download is not complete."""
    status = mevis_status(root)
    assert "video_datas/mevis/valid_u/mask_dict.json" in status.found
    assert "video_datas/mevis/train/JPEGImages (3 of 1662 videos)" in status.missing
    assert not mevis_status(root / "elsewhere").found
    assert READERS["mevis"].splits[0] == "train"
