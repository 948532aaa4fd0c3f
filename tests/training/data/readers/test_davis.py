"""Ref-DAVIS17: void pixels, two layouts, the order of four expressions per object."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from desa2va.processing.files import write_index_png
from desa2va.training.data.mask_codes import decode_mask
from desa2va.training.data.readers.davis import davis_status, read_davis
from desa2va.training.data.record_rows import record_to_row, row_to_record
from tests.training.data.readers.video_layouts import (
    by_exp,
    dump,
    edit,
    load,
    masks_of,
    same,
    split_up,
    track,
    videos,
    write_frames,
    write_indices,
)

REAL = Path(__file__).parents[5] / "shared" / "real_data" / "davis_car-shadow"
TEXTS = ("annot1", "annot1_full_video", "annot2", "annot2_full_video")
NAMES = ("bear", "classic-car")  # the raw files misspell the second


def scene(number):
    """Frames and index maps with twelve objects, so that 10 sorts before 2, and void pixels on one frame."""
    frames, maps = videos(2)[number]
    maps = maps.copy()
    for k in range(4, 13):
        maps[:, 31, 2 * k : 2 * k + 2] = k
    maps[2, 0:2, 0:5] = 255
    return frames, maps


def objects(number):
    return sorted(str(k) for k in np.unique(scene(number)[1]) if k not in (0, 255))


def text(k, index):
    return f"object {k} says {TEXTS[index]} café"


@pytest.fixture
def published(tmp_path):
    """The files as their makers publish them."""
    folder = tmp_path / "published" / "video_datas" / "davis17"
    lines = [[] for _ in TEXTS]
    for number, name in enumerate(NAMES):
        frames, maps = scene(number)
        names = write_frames(folder / "DAVIS" / "JPEGImages" / "480p" / name, frames)
        write_indices(folder / "DAVIS" / "Annotations_unsupervised" / "480p" / name, maps, names)
        for index, own in enumerate(lines):
            for k in reversed(objects(number)):
                own.append(f'{name.replace("classic", "clasic")} {k} "{text(k, index)}"')
    (folder / "davis_text_annotations").mkdir()
    for index, (name, own) in enumerate(zip(TEXTS, lines, strict=True)):
        encoding = "utf-8" if index < 2 else "latin-1"
        path = folder / "davis_text_annotations" / f"Davis17_{name}.txt"
        path.write_text("\n".join([*own, ""]), encoding=encoding)
    (folder / "DAVIS" / "ImageSets" / "2017").mkdir(parents=True)
    for split, name in zip(("train", "val"), NAMES, strict=True):
        (folder / "DAVIS" / "ImageSets" / "2017" / f"{split}.txt").write_text(f"{name}\n")
    return tmp_path / "published"


@pytest.fixture
def root(tmp_path):
    """The same, converted to the shape of Refer-YouTube-VOS."""
    folder = tmp_path / "converted" / "video_datas" / "davis17"
    for number, (split, name) in enumerate(zip(("train", "valid"), NAMES, strict=True)):
        frames, maps = scene(number)
        names = write_frames(folder / split / "JPEGImages" / name, frames)
        write_indices(folder / split / "Annotations" / name, maps, names)
        entries = [{"exp": text(k, index), "obj_id": k} for k in objects(number) for index in range(4)]
        video = {"frames": names, "expressions": {str(exp): entry for exp, entry in enumerate(entries)}}
        dump({"videos": {name: video}}, folder / "meta_expressions" / split / "meta_expressions.json")
    return tmp_path / "converted"


@pytest.fixture
def folder(root):
    return root / "video_datas" / "davis17"


@pytest.mark.parametrize("split", ["train", "valid"])
def test_order_of_expressions_and_masks(root, split):
    """Guards exp_id = 4 * object + k with objects sorted as texts, from which scores of four annotators are made."""
    records, errors = split_up(read_davis(root, split))
    assert not errors
    (record,) = records
    number = ("train", "valid").index(split)
    maps = scene(number)[1]
    said = by_exp(record)
    assert len(said) == 4 * len(objects(number))
    assert objects(number)[:4] == ["1", "10", "11", "12"]
    for exp_id, dialogue in said.items():
        k = objects(number)[int(exp_id) // 4]
        assert dialogue.ids["obj_id"] == k
        assert dialogue.ids["annotator"] == int(exp_id) % 4
        assert dialogue.ids["exp"] == text(k, int(exp_id) % 4)
        assert same(record, exp_id, maps == int(k))
    assert len({dialogue.group for dialogue in record.dialogues}) == len(objects(number))
    assert record.fps == 24.0


def test_void_is_no_object(root):
    """Pixels of 255 are left out of scores on their frame; read as an object or background they would count."""
    (record,) = read_davis(root, "valid")
    maps = scene(1)[1]
    for dialogue in record.dialogues:
        (target,) = dialogue.targets
        assert [code is not None for code in target.ignored] == [False, False, True, False, False, False]
        assert np.array_equal(decode_mask(target.ignored[2]), maps[2] == 255)
    assert row_to_record(record_to_row(record)) == record


def test_published_files_are_the_converted_ones(root, published):
    """Guards misspelt videos, two encodings, the order of objects, and the name of the split."""
    for split in ("train", "valid"):
        (converted,), (raw,) = read_davis(root, split), read_davis(published, split)
        assert raw.dialogues == converted.dialogues
        assert (raw.name, raw.size, raw.num_frames, raw.fps) == (
            converted.name,
            converted.size,
            converted.num_frames,
            converted.fps,
        )
        assert "/DAVIS/JPEGImages/480p/" in raw.paths[0]


def test_published_files_that_disagree(published):
    """One line less in one of four files would shift every later expression to its neighbour."""
    path = published / "video_datas" / "davis17" / "davis_text_annotations" / "Davis17_annot2.txt"
    lines = path.read_text(encoding="latin-1").splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("bear 3 ")), encoding="latin-1")
    (error,) = read_davis(published, "train")
    assert "video bear, expressions: the four files must name the same objects" in str(error)
    for row, message in (("bear 3", "row 2: expected a video"), (lines[0], "row 2: object .* is described twice")):
        path.write_text("\n".join([lines[0], row, *lines[1:]]), encoding="latin-1")
        with pytest.raises(ValueError, match=f"Davis17_annot2.txt, {message}"):
            list(read_davis(published, "train"))


def test_ids_of_mixed_objects(root, folder):
    """A file of another order would score the wrong expressions together."""
    words = folder / "meta_expressions" / "valid" / "meta_expressions.json"
    edit(words, lambda c: c["videos"][NAMES[1]]["expressions"]["2"].update(obj_id="10"))
    (error,) = read_davis(root, "valid")
    assert "ids 0 to 3 are of objects 1, 10; they must be of one, 4 * object + k" in str(error)


def test_an_expression_without_its_object(root, folder):
    """Pickled masks come without it, too; scores are by object, and would end in a `KeyError`."""
    words = folder / "meta_expressions" / "valid" / "meta_expressions.json"
    edit(words, lambda c: [entry.pop("obj_id") for entry in c["videos"][NAMES[1]]["expressions"].values()])
    (error,) = read_davis(root, "valid")
    assert error.field == "expression 0"
    assert "the number of its object under 'obj_id'" in str(error)


def test_numbered_pickle(root, folder):
    """VISA's masks, by the running number of an expression."""
    (before,) = read_davis(root, "valid")
    said = load(folder / "meta_expressions" / "valid" / "meta_expressions.json")["videos"][NAMES[1]]["expressions"]
    maps = scene(1)[1]
    codes = {str(n): track(maps == int(said[exp_id]["obj_id"])) for n, exp_id in enumerate(sorted(said))}
    (folder / "valid" / "mask_dict.pkl").write_bytes(pickle.dumps(codes))
    (folder / "valid" / "Annotations").rename(folder / "unused")
    (record,) = read_davis(root, "valid")
    assert [dialogue.ids for dialogue in record.dialogues] == [dialogue.ids for dialogue in before.dialogues]
    for ours, theirs in zip(record.dialogues, before.dialogues, strict=True):
        assert ours.targets[0].codes == theirs.targets[0].codes


@pytest.mark.parametrize("kind", ["frame", "mask"])
def test_every_frame_is_needed(root, folder, kind):
    """Guards against scores of a video whose hard frames are missing."""
    place = "JPEGImages" if kind == "frame" else "Annotations"
    path = next((folder / "valid" / place / NAMES[1]).glob("00004.*"))
    path.unlink()
    (error,) = read_davis(root, "valid")
    assert f"no file {path}" in str(error)


def test_frames_and_masks_of_other_sizes(root, folder):
    """JPEGImages are 854 or 910 wide; the masks have to be those of the frames at hand."""
    for frame in (folder / "valid" / "JPEGImages" / NAMES[1]).iterdir():
        Image.open(frame).resize((34, 32)).save(frame)
    (error,) = read_davis(root, "valid")
    assert "00000.png is (32, 32), its frame is (32, 34)" in str(error)
    for mask in (folder / "valid" / "Annotations" / NAMES[1]).iterdir():
        wide = np.pad(np.array(Image.open(mask)), ((0, 0), (0, 2)))
        write_index_png(wide, mask, overwrite=True)
    (record,) = read_davis(root, "valid")
    assert record.size == (32, 34)


def test_status(root, published):
    for place in (root, published):
        missing = davis_status(place).missing
        assert len(missing) == (4 if place is root else 2)
        assert all("videos)" in name for name in missing)
    empty = davis_status(root.parent)
    assert not empty.found
    assert "davischallenge.org" in empty.where
    with pytest.raises(FileNotFoundError, match="neither .*meta_expressions.json nor the folder"):
        list(read_davis(root.parent, "valid"))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real DAVIS video is not in ../shared")
def test_a_real_video(tmp_path):
    """DAVIS-2016's masks are grey, 0 and 255, where 255 is the object and not void."""
    folder = tmp_path / "video_datas" / "davis17"
    for place in ("JPEGImages", "Annotations"):
        (folder / "valid" / place).mkdir(parents=True)
        (folder / "valid" / place / "car-shadow").symlink_to(REAL / place / "480p" / "car-shadow")
    dump(
        {"videos": load(REAL / "expressions.json")["videos"]}, folder / "meta_expressions/valid/meta_expressions.json"
    )
    records, errors = split_up(read_davis(tmp_path, "valid"))
    assert not errors
    (record,) = records
    assert (record.size, record.num_frames, len(record.dialogues)) == ((480, 854), 24, 4)
    masks = masks_of(record, record.dialogues[3])
    for frame in (0, 11, 23):
        held = np.array(Image.open(REAL / "Annotations" / "480p" / "car-shadow" / f"{frame:05d}.png"))
        assert np.array_equal(masks[frame], held == 255)
    assert record.dialogues[0].targets[0].ignored == ()
