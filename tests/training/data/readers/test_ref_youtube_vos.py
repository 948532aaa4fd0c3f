"""Refer-YouTube-VOS: palette masks, numbered pickles, which videos are for validation."""

import pickle

import numpy as np
import pytest
from PIL import Image

from desa2va.training.data.readers.index_masks import read_indices
from desa2va.training.data.readers.ref_youtube_vos import read_ref_youtube_vos, ref_youtube_vos_status
from tests.training.data.readers.video_layouts import (
    by_exp,
    dump,
    edit,
    load,
    same,
    split_up,
    track,
    videos,
    write_frames,
    write_indices,
)


@pytest.fixture
def root(tmp_path):
    """Three videos for training, the last one first in the file; validation and test in one list."""
    folder = tmp_path / "video_datas" / "rvos"
    content, meta = {}, {}
    for number, (frames, maps) in reversed(list(enumerate(videos(3)))):
        name = f"v{number}"
        names = write_frames(folder / "train" / "JPEGImages" / name, frames, step=5)
        write_indices(folder / "train" / "Annotations" / name, maps, names)
        objects = [str(k) for k in np.unique(maps) if k]
        said = {str(k): {"exp": f"The thing {k}", "obj_id": objects[k % len(objects)]} for k in range(12 - number)}
        content[name] = {"frames": names, "expressions": said}
        meta[name] = {"objects": {k: {"category": "shape", "frames": names} for k in objects}}
    dump({"videos": content}, folder / "meta_expressions" / "train" / "meta_expressions.json")
    dump({"videos": meta}, folder / "train" / "meta.json")
    blind = {}
    for name in ("a", "b", "c"):
        names = write_frames(folder / "valid" / "JPEGImages" / name, videos(1)[0][0], step=5)
        blind[name] = {"frames": names, "expressions": {"0": {"exp": "a cat"}}}
    dump({"videos": blind}, folder / "meta_expressions" / "valid" / "meta_expressions.json")
    dump({"videos": {"b": blind["b"]}}, folder / "meta_expressions" / "test" / "meta_expressions.json")
    return tmp_path


@pytest.fixture
def folder(root):
    return root / "video_datas" / "rvos"


def words(folder, split="train"):
    return folder / "meta_expressions" / split / "meta_expressions.json"


def write_pickle(folder):
    """The masks as the numbered pickle has them; the mask pictures go."""
    content, number = {}, 0
    listed = load(words(folder))["videos"]
    for name in sorted(listed):
        paths = [folder / "train" / "Annotations" / name / f"{frame}.png" for frame in listed[name]["frames"]]
        maps = np.stack([np.array(Image.open(path)) for path in paths])
        for exp_id in sorted(listed[name]["expressions"]):  # as texts: 0, 1, 10, 11, 2
            codes = track(maps == int(listed[name]["expressions"][exp_id]["obj_id"]))
            for code in codes:
                if code is not None:  # pycocotools gives bytes, older numpys their own integers
                    code.update(counts=code["counts"].encode(), size=[np.int64(side) for side in code["size"]])
            content[str(number)] = codes
            number += 1
    (folder / "mask_dict.pkl").write_bytes(pickle.dumps(content))
    (folder / "train" / "Annotations").rename(folder / "unused")
    return content


def check_masks(records):
    """Masks against the scenes."""
    for record, (_, maps) in zip(records, videos(3), strict=True):
        objects = [k for k in np.unique(maps) if k]
        for exp_id in by_exp(record):
            assert same(record, exp_id, maps == objects[int(exp_id) % len(objects)])


def test_palette_masks_are_indices(root, folder):
    """Guards against colours for numbers, objects that are missing on some frames, and numbers as text."""
    records, errors = split_up(read_ref_youtube_vos(root, "train"))
    assert not errors
    assert [record.name for record in records] == ["v0", "v1", "v2"]
    check_masks(records)
    codes = [code for record in records for item in record.dialogues for code in item.targets[0].codes]
    assert None in codes
    assert all(record.fps == 6.0 for record in records)
    assert records[0].paths[1].endswith("v0/00005.jpg")
    first = records[0].dialogues[0]
    assert first.turns[0][0] == "Please segment the thing 0."
    ids = {"video": "v0", "exp_id": "0", "exp": "The thing 0", "text": "the thing 0", "obj_id": "1"}
    assert first.ids == ids
    groups = {}
    for dialogue in records[0].dialogues:
        groups.setdefault(dialogue.ids["obj_id"], set()).add(dialogue.group)
    assert all(len(own) == 1 for own in groups.values())


def test_a_palette_picture_is_never_converted(folder):
    """Read as grey or colours, object 1 would be a shade of red: 38, or (128, 0, 0)."""
    path = next((folder / "train" / "Annotations" / "v0").glob("*.png"))
    held = Image.open(path)
    assert held.mode == "P"
    assert np.array_equal(read_indices(path), np.array(held))
    assert np.array(held.convert("L")).max() > 30 > read_indices(path).max()
    held.convert("RGB").save(path)
    with pytest.raises(ValueError, match=r"holds colours \(mode RGB\)"):
        read_indices(path)
    path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="no mask that can be read"):
        read_indices(path)


def test_numbered_pickle(root, folder):
    """Guards the numbering: videos sorted although the file is not, ids sorted as texts, bytes and numpy integers."""
    write_pickle(folder)
    assert list(load(words(folder))["videos"]) == ["v2", "v1", "v0"]
    records, errors = split_up(read_ref_youtube_vos(root, "train"))
    assert not errors
    check_masks(records)
    (folder / "mask_dict.pkl").rename(folder / "train" / "mask_dict.pkl")
    assert split_up(read_ref_youtube_vos(root, "train"))[0] == records


def test_a_pickle_of_other_expressions(root, folder):
    """One expression more or less, and every later mask would be that of its neighbour."""
    content = write_pickle(folder)
    content.popitem()
    (folder / "mask_dict.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="holds masks of 32 expressions, but there are 33"):
        list(read_ref_youtube_vos(root, "train"))
    edit(words(folder), lambda c: c["videos"]["v1"].pop("frames"))
    with pytest.raises(ValueError, match="cannot be counted: .*video v1"):
        list(read_ref_youtube_vos(root, "train"))


class Poison:
    """Would remove a folder as soon as it is unpickled."""

    def __reduce__(self):
        import os

        return os.rmdir, ("/tmp/poisoned",)


def test_a_poisoned_pickle(root, folder):
    """Annotation files are not trusted."""
    content = write_pickle(folder)
    content["0"] = Poison()
    (folder / "mask_dict.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"mask_dict.pkl, content: .* a call of posix.rmdir"):
        list(read_ref_youtube_vos(root, "train"))


def test_frames_without_annotation_are_left_out(root, folder):
    """Absent and unlabelled are different things: only the first may teach an empty mask."""
    for frame in ("00005", "00025"):
        (folder / "train" / "Annotations" / "v0" / f"{frame}.png").unlink()
    record = split_up(read_ref_youtube_vos(root, "train"))[0][0]
    maps = videos(1)[0][1]
    assert record.num_frames == 4
    assert [path[-9:-4] for path in record.paths] == ["00000", "00010", "00015", "00020"]
    assert same(record, "0", (maps == 1)[[0, 2, 3, 4]])
    assert record.fps == 6.0
    for path in (folder / "train" / "Annotations" / "v0").iterdir():
        path.unlink()
    records, errors = split_up(read_ref_youtube_vos(root, "train"))
    assert len(records) == 2
    assert "no frame has a mask picture" in str(errors[0])


def test_wrong_objects_and_sizes(root, folder):
    """Guards against an expression that silently gets no mask, and masks of another size than their frames."""
    edit(words(folder), lambda c: c["videos"]["v0"]["expressions"]["3"].update(obj_id="9"))
    path = folder / "train" / "Annotations" / "v1" / "00010.png"
    Image.open(path).resize((40, 32)).save(path)
    records, errors = split_up(read_ref_youtube_vos(root, "train"))
    assert [error.field for error in errors] == ["expression 3", "video"]
    assert "obj_id 9 is in none of its mask pictures, which hold [1" in str(errors[0])
    assert "00010.png is (32, 40), its frame is (32, 32)" in str(errors[1])
    assert [record.name for record in records] == ["v0", "v2"]
    assert len(records[0].dialogues) == 11


def test_valid_is_without_test(root, folder):
    """The file of valid lists both; a server refuses hand-ins of 507 videos."""
    assert [record.name for record in read_ref_youtube_vos(root, "valid")] == ["a", "c"]
    records, errors = split_up(read_ref_youtube_vos(root, "test"))
    assert not errors
    assert [record.name for record in records] == ["b"]
    assert "/valid/JPEGImages/b/" in records[0].paths[0]
    assert records[0].dialogues[0].kind == "unlabelled"
    words(folder, "test").unlink()
    with pytest.raises(FileNotFoundError, match="202 videos of valid cannot be told from those of test"):
        list(read_ref_youtube_vos(root, "valid"))


def test_the_older_release_is_named(root, folder):
    """It has no expression ids, without which nothing can be handed in."""
    old = {"objects": {"1": {"category": "cat", "expressions": ["a cat"], "frames": ["00000"]}}}
    dump({"videos": {"a": old}}, words(folder, "valid"))
    (error,) = read_ref_youtube_vos(root, "valid")
    assert "an older release without expression ids" in str(error)


def test_status(root, folder):
    assert ref_youtube_vos_status(root).complete
    write_pickle(folder)
    assert "video_datas/rvos/mask_dict.pkl" in ref_youtube_vos_status(root).found
    (folder / "mask_dict.pkl").unlink()
    assert len(ref_youtube_vos_status(root).missing) == 1
    with pytest.raises(FileNotFoundError, match="there are no masks"):
        list(read_ref_youtube_vos(root, "train"))
