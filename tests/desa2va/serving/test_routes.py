"""The service as clients see it: answers, schema, refusals, limits."""

import json
import threading
import time

import numpy as np
import pytest

from desa2va.processing.results import SegmentationResult
from desa2va.serving.limits import Limits


def ask(client, content, text="the red circle", **more):
    return client.post("/v1/picture", json={"image": content, "text": text, "max_new_tokens": 4, **more})


def test_a_picture_in_and_the_results_of_the_python_api_out(serve, content, scenes, model, processor):
    """The service adds a way in, and changes nothing of what comes out."""
    with serve() as client:
        answer = ask(client, content, ["the red circle", "the ring"])
    assert answer.status_code == 200
    inputs = processor(images=np.asarray(scenes[0].frames[0]), text=["the red circle", "the ring"], task="segment")
    wanted = processor.post_process(model.generate(**inputs, max_new_tokens=4), inputs)
    got = [SegmentationResult.from_dict(entry) for entry in answer.json()["results"]]
    assert [entry.raw_text for entry in got] == [entry.raw_text for entry in wanted]
    for one, other in zip(got, wanted, strict=True):
        assert [entry.codes for entry in one.objects] == [entry.codes for entry in other.objects]
    assert answer.json()["timings"]["encoded"] > 0


def test_answers_follow_the_published_schema(serve, content, clip):
    """A client written from the schema has to understand every answer."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    with serve() as client:
        published = client.get("/openapi.json").json()
        answers = {
            "/v1/picture": ask(client, content),
            "/v1/video": client.post("/v1/video", json={"video": clip, "text": "the ring", "max_new_tokens": 4}),
        }
        refused = client.post("/v1/picture", json={"image": content})
    assert "/v1/sessions/{key}/propagate" in published["paths"]
    for path, answer in answers.items():
        assert answer.status_code == 200
        schema = published["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": published["components"]})
    told = published["paths"]["/v1/picture"]["post"]["responses"]["400"]["content"]["application/json"]["schema"]
    jsonschema.validate(refused.json(), {**told, "components": published["components"]})


def test_what_is_published_names_every_field_of_a_result():
    """A field that results gain and the schema does not know is one that clients never see documented."""
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    from desa2va.serving.schema import FrameObjectOut, FrameOut, ObjectOut, ResultOut

    result = SegmentationResult("", "", [], "ok", "", 2, 2, 1)
    extra = {"name"}
    assert set(ResultOut.model_fields) | extra == set(result.to_dict())
    for fields in (ObjectOut, FrameObjectOut, FrameOut):
        assert "object_id" in fields.model_fields or "objects" in fields.model_fields


def test_a_video_in_and_masks_of_every_frame_out(serve, clip, model, processor):
    """Frame by frame in the engine's line, and together again at the end."""
    with serve() as client:
        answer = client.post(
            "/v1/video", json={"video": clip, "text": ["the red circle", "the ring"], "max_new_tokens": 4}
        )
    results = [SegmentationResult.from_dict(entry) for entry in answer.json()["results"]]
    assert [result.num_frames for result in results] == [6, 6]
    assert all(len(entry.codes) == 6 for result in results for entry in result.objects)
    assert results[0].objects


def test_points_alone_need_no_words(serve, content):
    """A click is SAM-2's, without language."""
    with serve() as client:
        answer = client.post("/v1/picture", json={"image": content, "points": [[40.0, 40.0]]})
    assert answer.status_code == 200
    assert len(answer.json()["results"][0]["objects"]) == 1


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"{", 400, "no JSON"),
        (b"[]", 422, "the body"),
        ({"image": 3, "text": "x"}, 422, "image: "),
        ({"image": "QUJD", "text": "x"}, 400, "not a picture"),
        ({"image": "QUJD", "text": ""}, 422, "text: "),
        ({"image": "QUJD", "text": "x", "txt": 1}, 422, "txt: extra"),
        ({"image": "QUJD", "text": "x", "task": "fly"}, 422, "task: "),
        ({"image": "QUJD"}, 400, "text: is missing"),
        ({"image": "QUJD", "text": ["x"] * 17}, 400, "at most 16"),
        ({"image": "QUJD", "text": "x", "max_new_tokens": 10**9}, 400, "at most 1024"),
        ({"image": "QUJD", "text": "x", "points": [[1e999, 0]]}, 422, "points"),
        ({"image": "file:///etc/passwd", "text": "x"}, 400, "files are not read here"),
        ({"image": "http://127.0.0.1:9/a.png", "text": "x"}, 400, "addresses are not read here"),
    ],
)
def test_malformed_requests_get_one_sentence(serve, body, status, told):
    """A traceback, or an answer of 500, tells a client nothing it could mend."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with serve() as client:
        answer = client.post("/v1/picture", content=data, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert told in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_size_kind_token_and_host_are_checked_before_anything_is_read(serve, content):
    """Each of these is a door for a page of the web, or for a stranger."""
    limits = Limits(body_bytes=1000)
    with serve(limits, token="secret", hosts=("testserver",)) as client:
        key = {"Authorization": "Bearer secret"}
        assert ask(client, content).status_code == 401
        wrong = client.post("/v1/picture", json={}, headers={"Authorization": "Bearer secreT"})
        assert wrong.status_code == 401
        assert client.get("/health").status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.post("/v1/picture", json={"image": content}, headers=key).status_code == 413
        pieces = client.post(
            "/v1/picture", content=iter([b"{" + b" " * 2000]), headers={**key, "Content-Type": "application/json"}
        )
        assert pieces.status_code == 413
        assert client.post("/v1/picture", content=b"{}", headers=key).status_code == 415
        assert client.get("/metrics", headers={**key, "Host": "evil.example:8000"}).status_code == 421


def test_a_full_line_is_429_with_a_time(serve, content):
    """Clients that are told when to come back do; those that hang do not."""
    with serve(Limits(queue=1)) as client:
        opened, begun = threading.Event(), threading.Event()
        client.engine.call(lambda: (begun.set(), opened.wait(30)))
        begun.wait(30)
        client.engine.call(lambda: None)
        refused = ask(client, content)
        opened.set()
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        while client.engine.depth:
            time.sleep(0.01)
        assert ask(client, content).status_code == 200


def test_a_request_that_takes_too_long_is_given_up_and_its_place_is_free(serve, content):
    """Whoever waits for ever holds a connection for ever."""
    with serve(Limits(request_seconds=0.1, queue=1)) as client:
        opened, begun = threading.Event(), threading.Event()
        client.engine.call(lambda: (begun.set(), opened.wait(30)))
        begun.wait(30)
        for _ in range(2):
            assert ask(client, content).status_code == 504
        opened.set()


def test_metrics_count_routes_and_encodings(serve, content):
    """What an operator sees is what happened."""
    with serve() as client:
        ask(client, content)
        ask(client, content, "the ring")
        client.post("/v1/picture", json={})
        text = client.get("/metrics").text
    assert 'desa2va_requests_total{route="/v1/picture",status="200"} 2' in text
    assert 'desa2va_requests_total{route="/v1/picture",status="422"} 1' in text
    assert "desa2va_questions_total 2" in text
    assert "desa2va_encoded_total 2" in text
    assert "desa2va_reused_total 2" in text
    assert 'desa2va_request_seconds_bucket{route="/v1/picture",le="+Inf"} 3' in text


def test_a_fault_of_the_service_keeps_its_details_to_itself(serve, content, monkeypatch):
    """A traceback with paths of this machine is for the log alone."""
    with serve() as client:
        monkeypatch.setattr(client.engine.processor.__class__, "post_process", lambda *_, **__: 1 / 0)
        answer = ask(client, content)
    assert answer.status_code == 500
    assert answer.json() == {"error": "something went wrong in the service; its log says what"}
