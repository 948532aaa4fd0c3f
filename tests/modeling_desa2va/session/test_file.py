"""A session on disk: taken up in another process as if nothing had happened, and refused where it does not belong."""

import io
import json
import math
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from desa2va.modeling_desa2va.session.session import DeSa2VASession
from desa2va.modeling_desa2va.session.store import FrameRecord

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
    with pytest.raises(ValueError, match="version 99; this package reads 'desa2va-session' version 2"):
        DeSa2VASession.load(path, *tiny)
    with pytest.raises(FileNotFoundError, match="no session file at"):
        DeSa2VASession.load(tmp_path / "none", *tiny)


def rebuilt(path, target, change=None, lengths=None, records=None, **options):
    """A session file with another header, lengths or records, and check sums that are right."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(parts["session.json"])
    if change is not None:
        change(header)
    if lengths is not None:
        parts["lengths.npy"] = lengths(parts["lengths.npy"])
    if records is not None:
        parts["records.bin"] = records(parts["records.bin"])
    parts["session.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(target, "w", **options) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return target


def put(*place, value):
    """A change of one entry of the header."""

    def change(header):
        for key in place[:-1]:
            header = header[key]
        header[place[-1]] = value

    return change


def both_numbered_alike(header):
    header["objects"][1]["object_id"] = header["objects"][0]["object_id"]


def one_record_twice(header):
    header["objects"][1]["records"][0][1] = header["objects"][0]["records"][0][1]


PROMPT = ("objects", 0, "prompts", 0)
HEADERS = {
    "not unique": both_numbered_alike,
    "not used once each": one_record_twice,
    "not below 0": put("next_id", value=0),
    "unknown fields code": put("objects", 0, "code", value="import os"),
    "lacks": lambda header: header["objects"][0].pop("edited"),
    "must be a list": put("objects", value={}),
    "too large": put("objects", 0, "since", value=2**62),
    "since lie outside": put("objects", 0, "since", value=10**6),
    "must be int, got bool": put("objects", 0, "edited", value=True),
    "do not belong to each other": put("objects", 0, "edited", value=7),
    "forward, backward or since": put("objects", 0, "forward", value=-1),
    "denied name frames twice, or outside": put("objects", 0, "denied", value=[[10**9, -1.0]]),
    "records name frames twice, or outside": put("objects", 0, "records", 0, 0, value=10**9),
    "must hold 2 values": put("objects", 0, "records", 0, value=[1]),
    "NaN is no number": put("video", "thumbnails", 0, 0, value=float("nan")),
    "thumbnails are not 3 times 64": put("video", "thumbnails", value=[[0]]),
    "grey levels": put("video", "thumbnails", 0, 0, value=256),
    r"not in \[0, 1\]": put("objects", 0, "seg_probability", value=-0.5),
    "no Unicode": put("objects", 0, "name", value="\ud800"),
    "lies outside the picture|reaches outside": put(*PROMPT, 1, "box", value=[0, 0, 10**6, 10**6]),
    "without mask, points and box": put(*PROMPT, 1, "box", value=None),
    "clicks beside it": put(*PROMPT, 1, "mask", value={"size": [1, 1], "counts": "01"}),
    "add up to 3": put(*PROMPT, 1, "mask", value={"size": [128, 128], "counts": "12"}),
    "point labels must be": put(*PROMPT, 1, "points", value=[[1, 1, 5]]),
}


@pytest.mark.parametrize("message", HEADERS)
def test_a_crafted_header_is_one_error(saved, tiny, tmp_path, message):
    """With a valid check sum, six kinds of errors came, or the session was taken and broke later."""
    path = rebuilt(saved[0], tmp_path / "crafted.session", HEADERS[message])
    with pytest.raises(ValueError, match=f"crafted.session is no session file, or a broken one .*({message})"):
        DeSa2VASession.load(path, *tiny)


def npy(lengths):
    with io.BytesIO() as file:
        np.save(file, lengths)
        return file.getvalue()


def numbers(data):
    return np.load(io.BytesIO(data))


ARCHIVES = {
    "other lengths": {"lengths": lambda data: npy(-numbers(data))},
    "other lengths than": {"lengths": lambda data: npy(numbers(data) * 2**40)},
    "is no list of integers": {"lengths": lambda data: npy(numbers(data).astype(float))},
    "lengths.npy is no list": {"lengths": lambda data: data[:10] + data[10:].replace(b"(", b"(1000000000000", 1)},
    "not used once each": {
        "lengths": lambda data: npy(np.append(numbers(data), 100)),
        "records": lambda data: data + bytes(100),
    },
    "compressed, encrypted": {"compression": zipfile.ZIP_DEFLATED},
}


@pytest.mark.parametrize("message", ARCHIVES)
def test_a_crafted_archive_asks_for_no_memory(saved, tiny, tmp_path, message):
    """Seven terabytes were asked for by a length, and 3.3 GB taken by a header of a few packed bytes."""
    path = rebuilt(saved[0], tmp_path / "crafted.session", **ARCHIVES[message])
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"crafted.session is no session file, or a broken one .*({message})"):
        DeSa2VASession.load(path, *tiny)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6


def test_a_crafted_record_is_refused_before_it_is_unpacked():
    """Two bytes of lengths could ask for eight gigabytes, and a packed mask for any memory."""
    good = FrameRecord(torch.zeros(4, 4).half(), torch.zeros(3), 0.5, 1.0).to_bytes()
    assert FrameRecord.from_bytes(good).logits.shape == (4, 4)
    head = struct.Struct("<ff?xHHH")
    bomb = head.pack(0.5, 1.0, False, 4, 4, 3) + bytes(12) + zlib.compress(bytes(10**8))
    nothing = head.pack(0.5, 1.0, False, 65535, 65535, 3) + bytes(12) + zlib.compress(bytes(32))
    infinite = head.pack(math.inf, 1.0, False, 4, 4, 3) + good[head.size :]
    tracemalloc.start()
    for data in (b"", good[:10], good[:20], good[:-1], good + b"0", good[:30] + b"xyz", bomb, nothing, infinite):
        with pytest.raises(ValueError, match="a record"):
            FrameRecord.from_bytes(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


def test_names_that_no_file_can_hold_are_refused_at_once(tiny, folder):
    """Saved, they made a file that can not be taken up again."""
    with DeSa2VASession(*tiny, folder) as session:
        for name in (5, "\ud800"):
            with pytest.raises(ValueError, match="must be a text"):
                session.add(boxes=[10, 20, 40, 50], name=name)
