"""Every file this package reads, damaged at random: it is read, or one error of a user says so in one line.

A run takes a few hundred mutations, always the same; `DESA2VA_FUZZ=10000` takes more, `DESA2VA_FUZZ_SEED` others. A
failure names target, seed and number.
"""

import json
import os
import resource
import shutil
import signal
import tempfile
import threading
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from desa2va.errors import USER_ERRORS
from desa2va.model_checks import check_configuration
from desa2va.model_files import named_in_errors, resolve
from desa2va.modeling_desa2va.session.session import DeSa2VASession
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.processing.results import SegmentationResult, read_frame_results
from desa2va.program import error_line
from desa2va.training.data.readers import read_finetune
from desa2va.training.data.record_media import unreadable
from desa2va.training.data.records import Record

MUTATIONS = int(os.environ.get("DESA2VA_FUZZ", "400"))
SEED = int(os.environ.get("DESA2VA_FUZZ_SEED", "0"))
MEMORY, SECONDS = 2**31, 60  # more than any file needs; a limit, not a measurement
DEEP = "nested for ever"
HOSTILE = (
    *(None, True, False, 0, -1, 1, 2.5, 2**31, 2**63, 10**18, 10**30, -(10**30), 1e308, float("nan"), float("inf")),
    *("", "x", "12", "\ud800", "\x00", "../x", "a" * 10_000, [], {}, [[]], [None], {"": {}}, [0] * 100),
)


def places(value, path=()):
    """Where every value of nested JSON is."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def mutated(value, rng):
    """JSON with one to three of its values deleted, replaced, doubled, nested or made huge."""
    for _ in range(rng.integers(1, 4)):
        value = json.loads(json.dumps(value))  # nothing is in it twice
        found = [path for path in places(value) if path]
        if not found:
            break
        *outer, key = found[rng.integers(len(found))]
        inner = value
        for step in outer:
            inner = inner[step]
        kind = rng.integers(6)
        if kind == 0:
            del inner[key]
        elif kind == 1:
            inner[key] = [inner[key]] * int(rng.integers(1, 4))
        elif kind == 2:
            inner[key] = [[inner[key]], {"x": inner[key]}, DEEP][rng.integers(3)]
        elif kind == 3 and isinstance(inner, list):
            inner.append(inner[key])
        elif kind == 4 and isinstance(inner[key], int | float):
            inner[key] = inner[key] * int(rng.choice([-1, 2, 1000, 10**12]))
        else:
            inner[key] = HOSTILE[rng.integers(len(HOSTILE))]
    return value


def damaged(data, rng):
    """Bytes that are cut off, flipped, or hold a piece twice."""
    data = bytearray(data)
    kind = rng.integers(3)
    if kind == 0:
        return bytes(data[: rng.integers(len(data) + 1)])
    if kind == 1:
        start = int(rng.integers(len(data)))
        return bytes(data[:start] + data[start : start + 50] + data[start:])
    for place in rng.integers(len(data), size=rng.integers(1, 8)):
        data[place] = rng.integers(256)
    return bytes(data)


def damage_json(path, rng):
    """One mutation of a JSON file: of its values, or of its bytes."""
    data = path.read_bytes()
    if rng.random() < 0.25:
        path.write_bytes(damaged(data, rng))
    else:
        path.write_text(dumped(mutated(json.loads(data), rng)), encoding="utf-8")


def dumped(value):
    """JSON text, with nesting that no recursion survives in place of `DEEP`."""
    return json.dumps(value).replace(json.dumps(DEEP), "[" * 20_000 + "]" * 20_000)


@contextmanager
def bounded():
    """An end to time and memory: what would run or grow for ever fails the test instead of the machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    usual = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + MEMORY
    main = threading.current_thread() is threading.main_thread()
    resource.setrlimit(resource.RLIMIT_AS, (limit if usual[1] < 0 else min(limit, usual[1]), usual[1]))
    if main:
        signal.signal(signal.SIGALRM, _late)
        signal.alarm(SECONDS)
    try:
        yield
    finally:
        if main:
            signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, usual)


def _late(*_):
    raise AssertionError(f"not back after {SECONDS} seconds")


def left_behind():
    return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith(("desa2va", ".desa2va"))}


def fuzz(name, folder, share, damage, read):
    """Damages a fresh copy of `folder` many times, and reads it."""
    before, files = left_behind(), None
    for number in range(max(1, round(MUTATIONS * share))):
        rng = np.random.default_rng([SEED, number, *name.encode()])
        work = folder.parent / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(folder, work)
        damage(work, rng)
        files = sorted(work.rglob("*"))
        told = f"{name}, seed {SEED}, number {number}"
        try:
            with bounded(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(work)
        except USER_ERRORS as error:
            line = error_line(error)
            assert line, told
            assert "\n" not in line, told
            assert str(work) in line, told
        except Exception as error:
            raise AssertionError(f"{told}: {type(error).__name__}: {str(error)[:300]}") from error
        assert sorted(work.rglob("*")) == files, told
    assert left_behind() <= before


@pytest.fixture(scope="module")
def model_folder(saved_model, tmp_path_factory):
    return Path(shutil.copytree(saved_model, tmp_path_factory.mktemp("fuzz") / "model"))


def test_configurations(model_folder):
    """Checked before anything is built from them."""

    def read(work):
        with named_in_errors(str(work), "model"):
            check_configuration(Path(resolve(work)))

    fuzz("config.json", model_folder, 0.15, lambda work, rng: damage_json(work / "config.json", rng), read)


def test_processors(model_folder):
    """Processor, tokenizer and template."""
    names = ("processor_config.json", "tokenizer_config.json", "tokenizer.json", "chat_template.jinja")

    def damage(work, rng):
        path = work / names[rng.choice(4, p=[0.5, 0.2, 0.2, 0.1])]
        if path.suffix == ".json":
            damage_json(path, rng)
        else:
            path.write_bytes(damaged(path.read_bytes(), rng))

    def read(work):
        with named_in_errors(str(work), "processor"):
            processor = DeSa2VAProcessor.from_pretrained(resolve(work))
            processor.assembler.encoder.template(("user",), True)

    fuzz("processor", model_folder, 0.15, damage, read)


def test_weights(model_folder):
    """Their heads are read, not what they hold."""

    def damage(work, rng):
        path = work / "model.safetensors"
        data = path.read_bytes()
        size = 8 + int.from_bytes(data[:8], "little")
        path.write_bytes(damaged(data[:size], rng) + data[size:] if rng.random() < 0.8 else damaged(data, rng))

    fuzz("model.safetensors", model_folder, 0.1, damage, resolve)


@pytest.fixture(scope="module")
def session_folder(shipped, tmp_path_factory):
    """A session of two objects, one with a correction, on four frames."""
    folder = tmp_path_factory.mktemp("fuzz") / "session"
    folder.mkdir()
    frames = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), np.uint8)
    with DeSa2VASession(*shipped, frames) as session:
        session.add(boxes=[10, 20, 40, 40], name="square")
        session.add(masks=np.tri(48, 64, dtype=bool), frame=2)
        list(session.propagate())
        session.correct(0, 1, points=[[30, 30, 1], [5, 5, 0]])
        session.save(folder / "a.session")
    return folder, frames


def test_sessions(shipped, session_folder):
    """With check sums that are right, and with ones that are not."""
    folder, frames = session_folder

    def damage(work, rng):
        path = work / "a.session"
        if rng.random() < 0.2:
            path.write_bytes(damaged(path.read_bytes(), rng))
            return
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        name = rng.choice(["session.json", "session.json", "session.json", "lengths.npy", "records.bin"])
        if name == "session.json":
            parts[name] = dumped(mutated(json.loads(parts[name]), rng)).encode()
        else:
            parts[name] = damaged(parts[name], rng)
        kind = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", kind) as archive:
            for name, data in parts.items():
                archive.writestr(name, data)

    def read(work):
        with DeSa2VASession.load(work / "a.session", *shipped, video=frames) as session:
            for frame in range(4):
                session.result(frame)
            session.save(work.parent / "again.session", overwrite=True)

    fuzz("session", folder, 0.2, damage, read)


@pytest.fixture(scope="module")
def result_folder(shipped, session_folder, tmp_path_factory):
    """The results of that session, whole and frame by frame."""
    folder = tmp_path_factory.mktemp("fuzz") / "results"
    folder.mkdir()
    with DeSa2VASession.load(session_folder[0] / "a.session", *shipped, video=session_folder[1]) as session:
        session.results().to_json(folder / "result.json")
        lines = [json.dumps(session.result(frame).to_dict()) for frame in range(4)]
    (folder / "frames.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_results(result_folder):
    """What is read can be used: masks, areas and boxes."""

    def read(work):
        for entry in SegmentationResult.from_json(work / "result.json").objects:
            assert entry.masks.any(axis=(1, 2)).tolist() == [box is not None for box in entry.boxes]

    fuzz("result.json", result_folder, 0.2, lambda work, rng: damage_json(work / "result.json", rng), read)


def test_frame_results(result_folder):
    """Line by line."""

    def damage(work, rng):
        path = work / "frames.jsonl"
        if rng.random() < 0.3:
            path.write_bytes(damaged(path.read_bytes(), rng))
            return
        lines = path.read_text().splitlines()
        place = rng.integers(len(lines))
        lines[place] = dumped(mutated(json.loads(lines[place]), rng))
        path.write_text("\n".join(lines))

    def read(work):
        for result in read_frame_results(work / "frames.jsonl"):
            assert [entry.mask.sum() for entry in result.objects] == [entry.area for entry in result.objects]

    fuzz("frames.jsonl", result_folder, 0.1, damage, read)


@pytest.fixture(scope="module")
def finetune_folder(tmp_path_factory):
    """A fine-tune file with pictures, frames, polygons, codes, a caption and chat."""
    from PIL import Image

    from desa2va.training.data.mask_codes import encode_mask

    folder = tmp_path_factory.mktemp("fuzz") / "data"
    for name in ("a.png", "clip/0.png", "clip/1.png"):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 24), (90, 90, 90)).save(folder / "images" / name)
    square = [4, 6, 12, 6, 12, 14, 4, 14]
    code = encode_mask(np.tri(24, 32, dtype=bool))
    chat = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A block."}]
    records = [
        {"image": "a.png", "text": ["a", "b", "c"], "mask": [[square, code], code, None], "caption": "Blocks."},
        {"video": ["clip/0.png", "clip/1.png"], "text": ["it"], "mask": [[[square], None]]},
        {"video": "clip", "text": ["it"], "mask": [[{"size": [24, 32], "counts": [100, 8, 660]}, [square]]]},
        {"image": "a.png", "conversations": chat},
    ]
    (folder / "train.json").write_text(json.dumps(records))
    return folder


def test_finetune_files(finetune_folder):
    """Problems of records are reported, each for its own record; the others pass, and their masks decode."""

    def read(work):
        for item in read_finetune(work / "train.json"):
            if isinstance(item, Record):
                assert not unreadable(item)
                for dialogue in item.dialogues:
                    shape = (len(dialogue.targets), item.num_frames, 24, 32)
                    assert item.conversation(dialogue).masks.shape == shape
            else:
                assert "\n" not in str(item)
                assert str(item).encode()

    fuzz("train.json", finetune_folder, 0.1, lambda work, rng: damage_json(work / "train.json", rng), read)
