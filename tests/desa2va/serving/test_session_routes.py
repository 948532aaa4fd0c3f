"""Sessions over HTTP: what `DeSa2VASession` does, for one client at a time, and closed when nobody comes back."""

import json
import os
import time

import numpy as np
import pytest

import desa2va
from desa2va.processing.results import FrameResult
from desa2va.serving.limits import Limits
from desa2va.serving.media import open_video
from desa2va.serving.sessions import BusyError, SessionStore, TooManyError, UnknownSessionError

CLICK = [[40.0, 40.0, 1]]


class Session:
    """Notes whether it was closed."""

    closed = False

    def close(self):
        self.closed = True


@pytest.fixture
def opened(serve, clip):
    """A client and the address of a session about the clip."""
    with serve() as client:
        answer = client.post("/v1/sessions", json={"video": clip})
        assert answer.status_code == 201
        yield client, f"/v1/sessions/{answer.json()['session']}"


def lines_of(answer):
    return [json.loads(line) for line in answer.text.splitlines()]


def test_clicks_propagation_correction_and_undo_are_those_of_a_session(opened, clip, model, processor):
    """The way over HTTP must end at the same masks."""
    client, address = opened
    added = client.post(f"{address}/add", json={"points": CLICK, "frame": 2, "name": "it"}).json()
    frames = lines_of(client.post(f"{address}/propagate", json={}))
    corrected = client.post(f"{address}/correct", json={"object_id": 0, "frame": 4, "points": [[60.0, 60.0, 1]]})
    with desa2va.DeSa2VASession(model, processor, open_video(clip, Limits())) as session:
        session.add(points=CLICK, frame=2, name="it")
        wanted = [frame.to_dict() for frame in session.propagate()]
        fixed = session.correct(0, 4, points=[[60.0, 60.0, 1]])
    assert added["objects"] == [0]
    assert added["frame"]["frame"] == 2
    assert frames == json.loads(json.dumps(wanted))
    assert corrected.json()["frame"]["objects"][0]["code"] == fixed.code
    assert client.get(address).json()["objects"][0]["pending"]
    assert not client.delete(f"{address}/last").json()["objects"][0]["pending"]
    assert FrameResult.from_dict(client.get(f"{address}/frames/4").json()).frame == 4
    assert client.post(f"{address}/remove", json={"object_id": 0}).json()["objects"] == []


def test_words_and_masks_add_objects(opened, clip):
    """The other two kinds of prompts."""
    client, address = opened
    said = client.post(f"{address}/add", json={"text": "the ring"}).json()
    assert said["answer"]["text"]
    mask = np.zeros((128, 128), bool)
    mask[10:60, 10:60] = True
    from desa2va.processing.files import encode_mask

    given = client.post(f"{address}/add", json={"mask": encode_mask(mask), "frame": 1}).json()
    assert given["frame"]["objects"][-1]["area"] == pytest.approx(2500, rel=0.02)  # SAM-2 sees masks at its own size


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("add", {}, 400, "one kind of prompt"),
        ("add", {"points": [[500.0, 1.0]]}, 400, "500"),
        ("add", {"mask": {"size": [128, 128], "counts": "zzz"}}, 400, "run-length|counts"),
        ("add", {"mask": {"size": [1, 1], "counts": "0"}}, 400, ""),
        ("correct", {"object_id": 7, "frame": 0, "points": CLICK}, 400, "7"),
        ("propagate", {}, 400, "no objects"),
        ("propagate", {"direction": "up"}, 422, "direction"),
        ("remove", {"object_id": "0"}, 422, "object_id"),
    ],
)
def test_what_can_not_be_meant_is_one_sentence(opened, path, body, status, told):
    """The session stays usable afterwards."""
    client, address = opened
    answer = client.post(f"{address}/{path}", json=body)
    assert answer.status_code == status
    assert any(word in answer.json()["error"] for word in told.split("|"))
    assert client.post(f"{address}/add", json={"points": CLICK}).status_code == 200


def test_a_client_that_leaves_half_way_leaves_the_session_usable(opened):
    """A lost connection must not lock a video for ever; what was tracked stays tracked."""
    client, address = opened
    client.post(f"{address}/add", json={"points": CLICK})
    sessions = client.app.state.sessions
    (entry,) = sessions._entries.values()
    steps = entry.session.propagate()
    client.engine.call(lambda: next(steps)).result(30)
    client.engine.call(steps.close).result(30)
    rest = lines_of(client.post(f"{address}/propagate", json={}))
    assert [frame["frame"] for frame in rest] == [1, 2, 3, 4, 5]
    assert client.get(address).status_code == 200


def test_a_session_ends_and_its_key_with_it(opened):
    """And its temporary file."""
    client, address = opened
    client.post(f"{address}/add", json={"points": CLICK})
    assert client.delete(address).status_code == 204
    gone = client.get(address)
    assert gone.status_code == 404
    assert "no such session" in gone.json()["error"]
    assert len(client.app.state.sessions) == 0


def test_no_more_videos_than_granted(serve, clip):
    """Each holds memory."""
    with serve(Limits(sessions=1)) as client:
        assert client.post("/v1/sessions", json={"video": clip}).status_code == 201
        refused = client.post("/v1/video", json={"video": clip, "text": "the ring"})
    assert refused.status_code == 429
    assert refused.headers["Retry-After"]


def test_unused_sessions_expire_and_busy_ones_do_not():
    """Clients forget to say goodbye."""
    store, idle, busy = SessionStore(3, 0.05), Session(), Session()
    with store.place() as place:
        first = place.keep(idle)
    with store.place() as place:
        second = place.keep(busy)
    with store.use(second):
        time.sleep(0.1)
        store.expire()
        with pytest.raises(BusyError), store.use(second):
            pass
    assert (idle.closed, busy.closed, len(store)) == (True, False, 1)
    with pytest.raises(UnknownSessionError), store.use(first):
        pass
    store.close_all()
    assert busy.closed


def test_places_are_given_back_whatever_happens():
    """A failed request must not use up the service."""
    store = SessionStore(1, 60)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), store.place():
            raise ZeroDivisionError
    with store.place(), pytest.raises(TooManyError), store.place():
        pass
    assert len(store) == 0


def test_the_end_of_the_service_closes_every_session(serve, clip, tmp_path, monkeypatch):
    """Temporary files of a service that was stopped stay for ever otherwise."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with serve() as client:
        client.post("/v1/sessions", json={"video": clip})
        store = client.app.state.sessions
    assert len(store) == 0
    assert os.listdir(tmp_path) == []
