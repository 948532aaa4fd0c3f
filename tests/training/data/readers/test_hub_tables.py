"""Data sets of the Hub end to end, by `datasets`' own loader, against a server on the loopback address."""

import io

import datasets
import numpy as np
import pytest
from PIL import Image

from desa2va.processing.files import VideoWriter, encode_mask
from tests.desa2va.hub_server import Hub, Repository
from tests.desa2va.test_hub_protocol import run

SIZE = (24, 32)
RLE = {"size": datasets.List(datasets.Value("int32")), "counts": datasets.Value("string")}
SHAPES = {"image": datasets.Image(), "text": datasets.Value("string"), "mask": RLE}
CLIPS = {"video": datasets.Video(), "text": datasets.Value("string"), "masklet": datasets.List(RLE)}


def code(width):
    mask = np.zeros(SIZE, bool)
    mask[4:9, 5 : 5 + width] = True
    return encode_mask(mask)


def shape(number):
    stream = io.BytesIO()
    Image.fromarray(np.full((*SIZE, 3), 10 * number, np.uint8)).save(stream, "PNG")
    return {"image": {"bytes": stream.getvalue(), "path": None}, "text": f"thing {number}", "mask": code(number + 1)}


def clip(folder):
    with VideoWriter(folder / "clip.mp4", 10) as writer:
        for brightness in (40, 120, 200):
            writer.write(np.full((*SIZE, 3), brightness, np.uint8))
    cell = {"bytes": (folder / "clip.mp4").read_bytes(), "path": None}
    return {"video": cell, "text": "a patch", "masklet": [code(width) for width in (1, 2, 3)]}


def parquet(rows, features):
    stream = io.BytesIO()
    datasets.Dataset.from_list(rows, features=datasets.Features(features)).to_parquet(stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """`(what the client saw online, what it saw offline)`."""
    folder = tmp_path_factory.mktemp("sets")
    shards = {
        f"data/train-0000{part}-of-00002.parquet": parquet([shape(3 * part + row) for row in range(3)], SHAPES)
        for part in range(2)
    }
    with Hub() as hub:
        hub.repositories = {"owner/shapes": Repository(), "owner/clips": Repository()}
        hub.repositories["owner/shapes"].commits.append(("1" * 40, shards))
        clips = {"data/train-00000-of-00001.parquet": parquet([clip(folder)], CLIPS)}
        hub.repositories["owner/clips"].commits.append(("2" * 40, clips))
        hub.repositories["owner/gated"] = Repository(gated=True)
        home = tmp_path_factory.mktemp("home")
        online = run("tables", hub, folder, home)
        asked = len(hub.requests)
        offline = run("tables offline", hub, folder, home)
        assert len(hub.requests) == asked
    return online, offline


def test_pictures_and_codes_streamed_and_whole(session):
    """Every row with its own pixels and mask, also from the cache, without a server."""
    wanted = [[f"thing {n}", [1, *SIZE, 3], 10.0 * n, [5 * (n + 1)]] for n in range(6)]
    assert session[0]["streamed"] == wanted
    assert session[0]["whole"] == wanted
    assert session[1] == wanted


def test_a_video_cell_is_read_without_torchcodec(session):
    """Its bytes go through the package's own reader, whether torchcodec is installed or not."""
    ((text, shape, first, pixels),) = session[0]["clips"]
    assert (text, shape, pixels) == ("patch", [3, *SIZE, 3], [5, 10, 15])
    assert first == pytest.approx(40, abs=6)
    assert session[0]["clips streamed"] == session[0]["clips"]


def test_a_training_streams_from_the_hub(session):
    """Two steps of the shipped model, the rows read by a data worker."""
    assert session[0]["steps"] == 2


@pytest.mark.parametrize("name", ["none", "gated"])
def test_what_cannot_be_read_is_named(session, name):
    """Guards against a page about HTTP."""
    assert f"owner/{name}" in session[0][name]
    assert "DatasetNotFoundError" in session[0][name]
    assert "\n" not in session[0][name]
