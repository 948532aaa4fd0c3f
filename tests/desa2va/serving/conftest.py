"""Pictures and videos as requests bring them, and a service that a test asks."""

import base64
import io
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from desa2va.processing.files import VideoWriter
from desa2va.serving.engine import Engine
from desa2va.serving.limits import Limits


def encoded(picture):
    """A picture as base64 of a PNG."""
    target = io.BytesIO()
    Image.fromarray(np.asarray(picture)).save(target, "PNG")
    return base64.b64encode(target.getvalue()).decode()


@pytest.fixture(scope="session")
def content(scenes):
    """A picture as base64."""
    return encoded(scenes[0].frames[0])


@pytest.fixture(scope="session")
def clip(scenes, tmp_path_factory):
    """A video of six frames as base64 of an MP4."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    picture = np.asarray(scenes[0].frames[0])
    with VideoWriter(path, 6) as writer:
        for shift in range(6):
            writer.write(np.roll(picture, 4 * shift, axis=1))
    return base64.b64encode(path.read_bytes()).decode()


@pytest.fixture
def serve(model, processor):
    """Opens a service: `with serve(limits, token=...) as client`; `client.app.state` has engine and sessions."""
    testclient = pytest.importorskip("fastapi.testclient", reason="the extra `serve` is not installed")
    from desa2va.serving.app import create_app

    @contextmanager
    def opened(limits=None, **options):
        limits = Limits() if limits is None else limits
        engine = Engine(model, processor, limits.queue, limits.batch, limits.cache_bytes)
        with testclient.TestClient(create_app(engine, limits, **options), raise_server_exceptions=False) as client:
            client.engine = engine
            yield client

    return opened
