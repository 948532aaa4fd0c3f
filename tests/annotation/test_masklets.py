"""Masklets of every layout, and what is wrong with them: a reason, never an error that ends the run."""

import json

import numpy as np
import pytest
from PIL import Image

from desa2va.annotation.masklets import find_sources, read_clip
from desa2va.modeling_desa2va.session import DeSa2VASession, read_session
from desa2va.processing.files import decode_mask, encode_mask, mask_area
from desa2va.training.data.record_media import read_frames
from tests.annotation.layouts import DAVIS, HEIGHT, SAV, WIDTH, squares, write_palettes, write_sav


def only_clip(videos, masks):
    (source,) = find_sources(videos, masks)
    return read_clip(source)


def drawn(masklet):
    empty = np.zeros((HEIGHT, WIDTH), bool)
    return np.stack([empty if code is None else decode_mask(code) for code in masklet.codes])


@pytest.mark.parametrize("write", [write_palettes, write_sav])
def test_palettes_and_sav_give_the_same_masklets(tmp_path, write):
    """Guards against objects counted from another number, masks on other frames, and specks that are described."""
    clip = only_clip(*write(tmp_path))
    frames, maps = squares()
    first = 0 if write is write_sav else 1
    assert [masklet.number for masklet in clip.masklets] == [str(first), str(first + 1)]
    for k, masklet in enumerate(clip.masklets, 1):
        assert np.array_equal(drawn(masklet), maps == k)
    assert clip.skipped == {str(first + 2): "too small: at most 0.033% of a frame, less than 0.1%"}
    assert np.abs(read_frames(clip.record, [2, 5]).astype(int) - frames[[2, 5]]).mean() < 12


def test_frames_without_a_mask_picture_are_left_out(tmp_path):
    clip = only_clip(*write_palettes(tmp_path, skip=(1, 4)))
    assert [path[-9:-4] for path in clip.record.paths] == ["00000", "00010", "00015", "00025"]
    assert np.array_equal(drawn(clip.masklets[0]), squares()[1][[0, 2, 3, 5]] == 1)


def test_nested_folders_have_names_of_their_own(tmp_path):
    write_palettes(tmp_path, "480p/one")
    videos, masks = write_palettes(tmp_path, "480p/two")
    assert [source.name for source in find_sources(videos, masks)] == ["480p/one", "480p/two"]
    assert [source.name for source in find_sources(videos / "480p" / "one", masks / "480p" / "one")] == ["one"]


def test_a_saved_session(tmp_path, shipped):
    """The masks that the session itself tells, read without the model."""
    videos, _ = write_palettes(tmp_path)
    with DeSa2VASession(*shipped, videos / "clip") as session:
        session.add(boxes=[4, 4, 20, 20])
        list(session.propagate())
        shown = [session.result(frame).objects[0] for frame in range(6)]
        session.save(tmp_path / "work.session")
    told = tuple(found.code if mask_area(found.code) else None for found in shown)
    assert any(told)
    assert read_session(tmp_path / "work.session").codes() == {0: told}
    (masklet,) = only_clip(videos, tmp_path / "work.session").masklets
    assert (masklet.number, masklet.codes) == ("0", told)
    write_palettes(tmp_path / "longer", num_frames=7)
    wrong = only_clip(tmp_path / "longer" / "frames", tmp_path / "work.session")
    assert "6 frames" in wrong.skipped[""]


def test_masks_of_another_length_or_size_are_told(tmp_path):
    """SA-V's masks must be on every fourth frame, those of pictures have their size and their names."""
    frames, _ = squares()
    told = only_clip(*write_sav(tmp_path / "a", frames=np.repeat(frames, 4, 0)[:19])).skipped[""]
    assert "masks of 6 frames, but every 4th of the 19" in told
    small = encode_mask(np.ones((8, 8), bool))
    clip = only_clip(*write_sav(tmp_path / "b", masklet=[[small]] * 6))
    assert "frame 0: the code is [8, 8] but the picture is [48, 64]" in clip.skipped["0"]
    videos, masks = write_palettes(tmp_path / "c")
    Image.fromarray(np.ones((8, 8), np.uint8)).save(masks / "clip" / "00010.png")
    assert "is (8, 8), its frame is (48, 64)" in only_clip(videos, masks).skipped[""]
    videos, masks = write_palettes(tmp_path / "d")
    (videos / "clip" / "00010.png").unlink()
    assert "1 of them belong to no frame" in only_clip(videos, masks).skipped[""]


def test_what_can_not_be_read_is_a_reason(tmp_path):
    videos, masks = write_sav(tmp_path)
    write_sav(tmp_path, "sav_000002")
    (masks / "sav_000003_manual.json").write_text("{")
    (videos / "sav_000003.mp4").write_bytes(b"no video")
    (videos / "sav_000002.mp4").unlink()
    (masks / "sav_000004_manual.json").write_text(json.dumps({"masklet": [[None]] * 6}))
    (videos / "sav_000004.mp4").write_bytes((videos / "sav_000001.mp4").read_bytes())
    (masks / "broken.session").write_bytes(b"PK\x05\x06" + bytes(18))
    clips = [read_clip(source) for source in find_sources(videos, masks)]
    assert [clip.source.name for clip in clips] == ["broken", *(f"sav_00000{k}_manual" for k in (1, 2, 3, 4))]
    assert [len(clip.masklets) for clip in clips] == [0, 2, 0, 0, 0]
    assert "no video or folder of frames called like" in clips[2].skipped[""]
    assert "sav_000003" in clips[3].skipped[""]
    assert clips[4].skipped == {"0": "no frame shows it"}


@pytest.mark.parametrize("kind", ["palette", "sav"])
def test_masks_without_any_object_are_told(kind, tmp_path):
    """Such a video was in neither the annotations nor the report."""
    if kind == "sav":
        videos, masks = write_sav(tmp_path, masklet=[[]] * 6)
    else:
        videos, masks = write_palettes(tmp_path)
        for path in (masks / "clip").iterdir():
            Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(path)
    clip = only_clip(videos, masks)
    assert (clip.masklets, clip.skipped) == ((), {"": "no object: all masks are empty"})


def test_nothing_there_is_one_error(tmp_path):
    videos, masks = write_palettes(tmp_path)
    with pytest.raises(FileNotFoundError, match="absent"):
        find_sources(tmp_path / "absent", masks)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no masklets that are known"):
        find_sources(videos, tmp_path / "empty")


@pytest.mark.skipif(not SAV.is_file(), reason="needs the example annotation of SA-V")
def test_the_example_of_sav(sav_video):
    """121 annotated frames of five objects, 848 x 480, beside a video of its size."""
    clip = only_clip(sav_video, SAV)
    assert ([m.number for m in clip.masklets], clip.skipped) == (list("01234"), {})
    assert (clip.record.num_frames, clip.record.size, clip.record.stride) == (121, (848, 480), 4)


@pytest.mark.skipif(not DAVIS.is_dir(), reason="needs the frames of DAVIS")
def test_the_example_of_davis():
    """DAVIS-2016: one object of value 255."""
    clip = only_clip(DAVIS / "JPEGImages" / "480p", DAVIS / "Annotations" / "480p")
    assert [(m.video, m.number, len(m.codes)) for m in clip.masklets] == [("car-shadow", "1", 24)]
