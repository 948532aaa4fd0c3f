"""What a request may bring, and what it may not reach."""

import base64
import os

import numpy as np
import pytest

from desa2va.serving.limits import Limits
from desa2va.serving.media import open_video, read_picture


def test_base64_and_data_addresses_are_read(content, scenes):
    """The two ways that need no permission."""
    for text in (content, f"data:image/png;base64,{content}", content[:40] + "\n" + content[40:]):
        assert np.array_equal(read_picture(text, Limits()), np.asarray(scenes[0].frames[0]))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/etc/passwd", "not base64|can not be read|PIL"),
        ("file:/etc/passwd", "files are not read here"),
        ("file:///etc/passwd", "files are not read here"),
        ("http://127.0.0.1:1/x.png", "addresses are not read here"),
        ("HTTPS://example.org/x.png", "addresses are not read here"),
        ("data:image/png,abc", "as base64"),
        ("QUJD", "not a picture"),
        ("é" * 8, "not base64"),
        ("====", "not base64|is empty"),
    ],
)
def test_nothing_local_and_no_address_is_reached_unless_allowed(text, told):
    """A service that opens what a stranger names shows them this machine's files and network."""
    with pytest.raises(ValueError, match=told):
        read_picture(text, Limits())


def test_an_allowed_folder_ends_at_its_edge(content, tmp_path, scenes):
    """Dots, absolute names and links lead out of it."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "in.png").write_bytes(base64.b64decode(content))
    (tmp_path / "out.png").write_bytes(base64.b64decode(content))
    os.symlink(tmp_path / "out.png", inside / "link.png")
    limits = Limits(files=inside)
    assert np.array_equal(read_picture("file:in.png", limits), np.asarray(scenes[0].frames[0]))
    for name in ("../out.png", str(tmp_path / "out.png"), "link.png", "", ".", "no.png", "in.png\0", "a" * 5000):
        with pytest.raises(ValueError, match="no such file in the folder"):
            read_picture(f"file:{name}", limits)


def test_a_list_of_other_files_is_no_video(tmp_path, content):
    """FFmpeg follows playlists; one that names a file of this machine would be a window on it."""
    (tmp_path / "secret.png").write_bytes(base64.b64decode(content))
    playlists = (
        f"ffconcat version 1.0\nfile {tmp_path}/secret.png\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.png\n#EXT-X-ENDLIST\n",
    )
    for playlist in playlists:
        with pytest.raises(ValueError, match="video"):
            open_video(base64.b64encode(playlist.encode()).decode(), Limits())


def test_limits_of_size_and_length(content, clip):
    """A picture is checked before it is decoded."""
    with pytest.raises(ValueError, match="128 x 128 pixels, and at most 1000"):
        read_picture(content, Limits(pixels=1000))
    with pytest.raises(ValueError, match="6 frames, and at most 5"):
        open_video(clip, Limits(frames=5))
    assert len(open_video(clip, Limits(frames=6))) == 6
