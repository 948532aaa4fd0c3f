"""Every way to hand over a picture or a video that docs/inputs.md lists, and what is said of those that fail."""

import base64
import io
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Video
from datasets import Image as ImageCell
from PIL import Image

from desa2va.processing.batch.user_request import open_visuals
from desa2va.processing.inputs import VisualPart, load_image, open_visual
from desa2va.processing.inputs.given_sources import plain_source, shown, shown_source


def png(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer


def file_forms(path, data, mime):
    """One encoded picture or video in every form that is not particular to either."""
    text = base64.b64encode(data).decode()
    unrewound = io.BytesIO()
    unrewound.write(data)
    return {
        "path": path,
        "path as text": str(path),
        "file address": path.as_uri(),
        "bytes": data,
        "bytearray": bytearray(data),
        "memoryview": memoryview(data),
        "BytesIO": io.BytesIO(data),
        "BytesIO as written": unrewound,
        "open file": open(path, "rb"),  # noqa: SIM115
        "SpooledTemporaryFile": spooled(data),
        "base64": text,
        "base64 with line breaks": "\n".join(text[start : start + 76] for start in range(0, len(text), 76)),
        "base64 of addresses": base64.urlsafe_b64encode(data).decode().rstrip("="),
        "data address": f"data:{mime};base64,{text}",
        "data address without base64": f"data:{mime}," + "".join(f"%{byte:02X}" for byte in data),
        "cell with bytes": {"bytes": data, "path": None},
        "cell with both": {"bytes": data, "path": "gone.png"},
        "cell with a path": {"bytes": None, "path": str(path)},
        "dictionary with url": {"url": path.as_uri()},
        "dictionary with base64": {"base64": text},
    }


def spooled(data):
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    file.write(data)
    return file


def test_pictures_of_every_form(picture, tmp_path):
    path = tmp_path / "a b.png"
    data = png(picture).getvalue()
    path.write_bytes(data)
    forms = file_forms(path, data, "image/png")
    forms["cell of datasets, decoded"], forms["cell of datasets, raw"] = cells(path)
    for name, source in forms.items():
        first, again = load_image(source), load_image(source)
        assert np.array_equal(first, picture), name
        assert np.array_equal(again, picture), name
        (_, opened), (_, inside) = (
            *open_visuals(source, None, []),
            *open_visuals(None, None, [VisualPart("image", source, "messages[0][0]")]),
        )
        assert np.array_equal(opened.read([0])[0], picture), name
        assert np.array_equal(inside.read([0])[0], picture), name
        assert len(opened.name) < 200
        assert len(open_visuals([source, source], None, [])) == 2
    frames = [forms["bytes"], forms["cell with bytes"], forms["data address"], forms["path"]]
    assert [len(source) for _, source in open_visuals(None, frames, [])] == [4]


def cells(path):
    rows = {"image": [str(path)]}
    decoded = Dataset.from_dict(rows, features=Features({"image": ImageCell()}))
    raw = Dataset.from_dict(rows, features=Features({"image": ImageCell(decode=False)}))
    return decoded[0]["image"], raw[0]["image"]


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_arrays_with_channels_first_or_last(picture, kind):
    """ComfyUI hands over (B, H, W, C) floats, torchvision (C, H, W), `datasets` numpy of either."""
    last = kind(picture)
    first = kind(np.ascontiguousarray(picture.transpose(2, 0, 1)))
    floats = last / 255
    batch = np.stack([last] * 2) if kind is np.asarray else torch.stack([last] * 2)
    for source in (last, first, floats):
        assert np.array_equal(load_image(source), picture)
    for source in (batch, batch / 255, batch.swapaxes(1, 3).swapaxes(2, 3)):
        pictures = open_visuals(source, None, [])
        assert [kind for kind, _ in pictures] == ["image", "image"]
        (_, video), *none = open_visuals(None, source, [])
        assert len(video) == 2
        assert not none
        assert all(np.array_equal(opened.read([0])[0], picture) for _, opened in [*pictures, ("", video)])


def test_channels_lie_where_the_library_has_them_if_both_fit():
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    assert np.array_equal(load_image(array), array)
    assert np.array_equal(load_image(torch.from_numpy(array)), array.transpose(1, 2, 0))


def test_videos_of_every_form(tmp_path, write_video, grey):
    path = tmp_path / "a.avi"
    write_video(path, num_frames=6)
    expected = open_visual(path).read(range(6))
    forms = file_forms(path, path.read_bytes(), "video/avi")
    rows = Dataset.from_dict({"video": [str(path)]}, features=Features({"video": Video(decode=False)}))
    forms["cell of datasets, raw"] = rows[0]["video"]
    for name, source in forms.items():
        listed, alone = open_visuals(None, [source], [])[0][1], open_visuals(None, source, [])[0][1]
        for opened in (open_visual(source), listed, alone):
            assert len(opened) == 6, name
            assert grey(opened.read([5, 0, 3])) == grey([expected[5], expected[0], expected[3]]), name
            assert grey(opened.iterate(5, None, -1)) == [5, 4, 3, 2, 1, 0], name
            assert len(opened.name) < 200
    assert len(open_visuals(None, [forms["bytes"], forms["data address"]], [])) == 2


SECRET = base64.b64encode(np.random.default_rng(0).bytes(3000)).decode()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (SECRET, r"pic \(3000 bytes\): not a picture that can be read \(of no format that PIL knows\)"),
        (f"data:image/png;base64,{SECRET}", r"pic \(3000 bytes\): not a picture"),
        (f"data:image/png;base64,!{SECRET}", r"pic: the base64 in data:image/png;base64,... of 4023 .* can not be"),
        (f"data:image/png;base64{SECRET}", "pic: a data: address has a comma before its content"),
        ({"base64": SECRET + "!"}, "pic: base64 of 4001 characters can not be decoded"),
        ({"bytes": None, "path": None}, "pic: a dictionary holds one of bytes, path, url"),
        ({"image": {"image": {"image": "a"}}}, "pic: a dictionary holds one of"),
        ({"url": "a", "base64": SECRET}, "pic: gives url and base64; give one of them"),
        (SECRET.encode(), r"pic \(4000 bytes\): not a picture"),
        (b"", r"pic \(0 bytes\): not a picture"),
        (io.BytesIO(), r"pic \(0 bytes\): not a picture"),
        (io.StringIO("hello"), "pic: the file is opened as text; open it with mode 'rb'"),
        ("s3://bucket/a.png?" + SECRET, "pic .*addresses that begin with s3:// are not read"),
        ("file://elsewhere/a.png", "a file:// address of another machine can not be opened"),
    ],
)
def test_what_can_not_be_read_is_one_short_sentence(source, message):
    """A whole base64 in an error fills the screen and the log."""
    with pytest.raises(ValueError, match=message) as caught:
        load_image(source, "pic")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["images", "videos"])
@pytest.mark.parametrize("text", ["gone/" + SECRET.replace("/", "_") + ".png", "gone.png", "abcd", "a" * 200, "\0"])
def test_what_is_no_base64_is_a_file_that_is_missing(kind, text):
    with pytest.raises(FileNotFoundError, match=rf"{kind}\[0\].*no (such )?file") as caught:
        open_visuals(**{"images": None, "videos": None, "embedded": [], kind: [text]})
    assert len(str(caught.value)) < 300


def test_closed_files_and_videos_that_are_none_are_named():
    closed = io.BytesIO(b"a")
    closed.close()
    with pytest.raises(ValueError, match="pic: the open file can not be read"):
        load_image(closed, "pic")
    with pytest.raises(ValueError, match="clip: can not be read as a video") as caught:
        open_visual(f"data:video/mp4;base64,{SECRET}", "clip")
    assert SECRET[:100] not in str(caught.value)


def test_lists_of_other_files_are_not_followed_from_bytes(tmp_path, write_video, monkeypatch):
    """FFmpeg reads playlists; from bytes that a stranger sent it must not open files of this machine.

    Guards against bare names too, which it took from the folder that the program runs in.
    """
    write_video(tmp_path / "a.avi")
    monkeypatch.chdir(tmp_path)
    for text in (
        "ffconcat version 1.0\nfile 'a.avi'\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.5,\n{(tmp_path / 'a.avi').as_uri()}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile 'file:{tmp_path / 'a.avi'}'\n",
    ):
        with pytest.raises(ValueError, match="can not be read as a video"):
            open_visual(text.encode(), "clip")


def test_values_are_shown_short():
    huge = {"role": "user", "content": [{"image": SECRET}] * 50, "raw": b"a" * 10**6, "pixels": np.zeros((99, 99))}
    assert len(shown(huge)) < 400
    assert "<1000000 bytes>" in shown(huge)
    assert "(99, 99)" in shown(huge)
    assert shown_source("/data/a.png") == "/data/a.png"
    assert shown_source(Path("/data") / ("a" * 1000)).endswith("(1006 characters)")
    assert shown_source("https://user:word@host/a.png?token=1") == "https://host/a.png"
    assert len(shown_source(f"data:image/png;base64,{SECRET}")) < 80


def test_other_objects_are_left_as_they_are(picture):
    for source in (picture, [picture], None, 5, "https://host/a.png"):
        assert plain_source(source, "x") is source
    assert pickle.loads(pickle.dumps(plain_source("a.png", "x"))) == "a.png"
