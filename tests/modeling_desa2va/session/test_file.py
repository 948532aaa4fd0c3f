"""A session on disk: taken up in another process as if nothing had happened, and refused where it does not belong."""

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from desa2va.modeling_desa2va.session.session import DeSa2VASession

LENGTH = 8


@pytest.fixture(scope="module")
def tiny(shipped):
    return shipped


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of frames: a bright square that moves over noise."""
    from PIL import Image

    path = tmp_path_factory.mktemp("square")
    background = np.random.default_rng(0).integers(0, 90, (72, 96, 3), dtype=np.uint8)
    for number in range(LENGTH):
        frame = background.copy()
        frame[20:50, 10 + 5 * number : 40 + 5 * number] = (250, 40, 40)
        Image.fromarray(frame).save(path / f"{number:03d}.png")
    return path


def results(session):
    return [session.result(frame).to_dict() for frame in range(LENGTH)]


@pytest.fixture(scope="module")
def saved(tiny, folder, tmp_path_factory):
    """A session stopped half-way with a correction that waits; the file, and what it goes on to without a break."""
    path = tmp_path_factory.mktemp("saved") / "work.session"
    with DeSa2VASession(*tiny, folder) as session:
        session.add(boxes=[10, 20, 40, 50], name="square")
        session.add(points=[[30, 30]], frame=2)
        list(session.propagate())
        session.correct(0, 4, points=[[45, 35, 1], [5, 5, 0]])
        for _ in zip(range(2), session.propagate(), strict=False):
            pass
        session.save(path)
        here = results(session)
        list(session.propagate())
        return path, here, results(session)


CONTINUE = """
import pickle, sys
from desa2va.hub import load
from desa2va.modeling_desa2va.session.session import DeSa2VASession
with DeSa2VASession.load(sys.argv[1], *load("desa2va-tiny", device="cpu")) as session:
    read = lambda: [session.result(frame).to_dict() for frame in range(len(session.video))]
    found = [read()]
    list(session.propagate())
    found.append(read())
    session.correct(1, 3, points=[[5, 60, 0]])
    assert [entry.name for entry in session.objects.values()] == ["square", None]
pickle.dump(found, open(sys.argv[2], "wb"))
"""


def test_another_process_goes_on_where_this_one_stopped(saved, tmp_path):
    """Everything that decides what comes next has to be in the file: prompts, pointers, scores, what waits."""
    path, here, expected = saved
    out = tmp_path / "out.pickle"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", CONTINUE, str(path), str(out)], check=True, env=environment)
    loaded, continued = pickle.loads(out.read_bytes())
    assert loaded == here
    assert continued == expected


def test_saving_is_complete_or_absent(tiny, folder, tmp_path, monkeypatch):
    """A half-written file in the place of a good one would lose both."""
    path = tmp_path / "a.session"
    with DeSa2VASession(*tiny, folder) as session:
        session.add(boxes=[10, 20, 40, 50])
        session.save(path)
        good = path.read_bytes()
        with pytest.raises(FileExistsError, match="overwrite=True"):
            session.save(path)
        monkeypatch.setattr(
            zipfile.ZipFile, "writestr", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
        )
        with pytest.raises(OSError, match="No space left: the session was not written") as caught:
            session.save(path, overwrite=True)
        assert caught.value.errno == 28
        monkeypatch.undo()
        assert path.read_bytes() == good
        assert os.listdir(tmp_path) == ["a.session"]
        session.remove(0)
        session.save(path, overwrite=True)
    with DeSa2VASession.load(path, *tiny) as session:
        assert session.objects == {}
        assert session.add(boxes=[10, 20, 40, 50]) == [1]  # numbers are not used twice, in no process


def test_another_model_is_refused(saved, make_model, processor):
    with pytest.raises(ValueError, match="another model: the weights of the segmenter differ"):
        DeSa2VASession.load(saved[0], make_model(), processor)


def test_another_video_is_refused(saved, tiny, folder):
    frames = np.zeros((LENGTH, 72, 96, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="belongs to .*square.* shows something else"):
        DeSa2VASession.load(saved[0], *tiny, video=frames)
    with pytest.raises(ValueError, match=rf"\(96 x 72 pixels, {LENGTH} frames\), not to video \(96 x 72 pixels, 3 f"):
        DeSa2VASession.load(saved[0], *tiny, video=frames[:3])


def test_the_same_video_elsewhere_is_taken(saved, tiny, folder, tmp_path):
    """Videos move, and other decoders differ by a grey level or two."""
    from desa2va.processing.inputs.video_io import open_visual

    frames = np.stack(open_visual(folder).read(range(LENGTH)))
    with DeSa2VASession.load(
        saved[0], *tiny, video=np.clip(frames.astype(int) + 2, 0, 255).astype(np.uint8)
    ) as session:
        assert list(session.objects) == [0, 1]


def damage(kind, data):
    middle = len(data) // 3
    return {
        "empty": b"",
        "text": b"not a session",
        "cut": data[: len(data) // 2],
        "flipped": data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :],
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "flipped"])
def test_a_broken_file_is_one_error(saved, tiny, tmp_path, kind):
    """A flipped bit in a mask would otherwise be found, or not, only when that frame is looked at."""
    path = tmp_path / "broken.session"
    path.write_bytes(damage(kind, Path(saved[0]).read_bytes()))
    with pytest.raises(ValueError, match="broken.session is no session file, or a broken one"):
        DeSa2VASession.load(path, *tiny)


def test_files_of_other_kinds_are_named(saved, tiny, tmp_path):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("session.json", '{"format": "desa2va-session", "version": 99}')
    with pytest.raises(ValueError, match="version 99; this package reads 'desa2va-session' version 1"):
        DeSa2VASession.load(path, *tiny)
    with pytest.raises(FileNotFoundError, match="no session file at"):
        DeSa2VASession.load(tmp_path / "none", *tiny)
