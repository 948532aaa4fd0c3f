import io

import numpy as np
import pytest
import torch
from PIL import Image

from desa2va.processing.files import VideoWriter
from desa2va.processing.inputs.video_io import MemorySource
from desa2va.processing.inputs.visual_kind import visual_kind

FRAME = np.zeros((8, 10, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A picture and a video, each under a name that tells and one that does not."""
    Image.fromarray(FRAME).save(tmp_path / "a.png")
    with VideoWriter(tmp_path / "a.mp4", 5) as writer:
        writer.write(FRAME)
    (tmp_path / "picture").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "video").write_bytes((tmp_path / "a.mp4").read_bytes())
    return tmp_path


def test_files_bytes_and_folders(folder):
    """What a name does not tell, the first bytes do."""
    for name, kind in (("a.png", "image"), ("picture", "image"), ("a.mp4", "video"), ("video", "video")):
        path = folder / name
        for given in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), f"file://{path}"):
            assert visual_kind(given) == kind, (name, type(given))
    assert visual_kind(folder) == "video"
    assert visual_kind("http://x.org/a.mp4?size=3") == "video"
    assert visual_kind("http://x.org/a.jpg?size=3") == visual_kind("http://x.org/picture/7") == "image"


def test_objects():
    for given in (FRAME, FRAME[..., 0], torch.from_numpy(FRAME), Image.fromarray(FRAME)):
        assert visual_kind(given) == "image"
    for given in (FRAME[None], torch.from_numpy(FRAME[None]), MemorySource([FRAME])):
        assert visual_kind(given) == "video"
    for given in ([FRAME], {"image": FRAME}, 7, None, iter([FRAME])):
        assert visual_kind(given) is None
