"""The Label Studio backend: what it answers is accepted by label-studio-sdk's own validator."""

import base64
import importlib.util
import io

import numpy as np
import pytest
from PIL import Image

from desa2va.processing.files import VideoWriter
from desa2va.serving.engine import Engine
from tests.desa2va.test_docs import ROOT

sdk = pytest.importorskip("label_studio_sdk", reason="label-studio-sdk is not installed")
testclient = pytest.importorskip("fastapi.testclient", reason="the extra `serve` is not installed")

PICTURES = """<View><Image name="image" value="$image"/>
<BrushLabels name="tag" toName="image" smart="true"><Label value="ring"/><Label value="red circle"/></BrushLabels>
<KeyPointLabels name="click" toName="image" smart="true"><Label value="red circle"/></KeyPointLabels>
<RectangleLabels name="box" toName="image" smart="true"><Label value="ring"/></RectangleLabels>
<TextArea name="prompt" toName="image"/></View>"""
VIDEOS = """<View><Video name="video" value="$video" framerate="8"/>
<Labels name="names" toName="video"><Label value="ring"/><Label value="red circle"/></Labels>
<VideoRectangle name="box" toName="video"/></View>"""


@pytest.fixture(scope="module")
def backend():
    spec = importlib.util.spec_from_file_location("backend", ROOT / "integrations" / "label_studio" / "backend.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["backend"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["backend"]


@pytest.fixture
def client(backend, model, processor):
    with testclient.TestClient(backend.create_app(Engine(model, processor))) as client:
        yield client


@pytest.fixture(scope="module")
def picture(scenes):
    target = io.BytesIO()
    Image.fromarray(np.asarray(scenes[0].frames[0])).save(target, "PNG")
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()


def predict(client, config, data, result=None):
    """The one prediction, which the validator accepts."""
    body = {"tasks": [{"id": 1, "data": data}], "label_config": config, "params": {"context": {"result": result}}}
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["results"]
    errors = sdk.label_interface.LabelInterface(config).validate_prediction(prediction, return_errors=True)
    assert not errors
    return prediction


def mask_of(region):
    from label_studio_sdk.converter.brush import decode_rle

    size = region["original_height"], region["original_width"], 4
    return decode_rle(region["value"]["rle"]).reshape(size)[..., 3] > 0


def test_a_click_is_a_brush_label_with_the_chosen_label(client, picture, model, processor, scenes):
    """Percent of width and height, not of one of them; and the mask of the Python API."""
    click = {
        "type": "keypointlabels",
        "is_positive": True,
        "value": {"x": 40.0, "y": 25.0, "width": 0.3, "keypointlabels": ["red circle"]},
    }
    prediction = predict(client, PICTURES, {"image": picture}, [click])
    (region,) = prediction["result"]
    inputs = processor(images=np.asarray(scenes[0].frames[0]), points=[[51.2, 32.0, 1]])
    (wanted,) = processor.post_process(model.generate(**inputs), inputs)
    assert region["value"]["brushlabels"] == ["red circle"]
    assert np.array_equal(mask_of(region), wanted.objects[0].mask())


def test_a_sentence_a_box_and_all_labels(client, picture):
    """The three other ways to ask."""
    sentence = {"type": "textarea", "value": {"text": ["the red circle there"]}}
    for region in predict(client, PICTURES, {"image": picture}, [sentence])["result"]:
        assert region["value"]["brushlabels"] == ["red circle"]
    box = {
        "type": "rectanglelabels",
        "value": {"x": 10, "y": 10, "width": 40, "height": 40, "rectanglelabels": ["ring"]},
    }
    (region,) = predict(client, PICTURES, {"image": picture}, [box])["result"]
    assert region["value"]["brushlabels"] == ["ring"]
    everything = predict(client, PICTURES, {"image": picture})["result"]
    assert {region["value"]["brushlabels"][0] for region in everything} <= {"ring", "red circle"}
    assert len({region["id"] for region in everything}) == len(everything)
    asked = predict(client, PICTURES, {"image": picture, "text": "the ring"})["result"]
    assert all(region["value"]["brushlabels"] == ["ring"] for region in asked)


def test_a_video_gets_boxes_by_label_studio_s_frames(backend, shipped, scenes, tmp_path):
    """Its frames count from 1 and by its own frame rate: a video of 4 a second on a page of 8 has every second one."""
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 4) as writer:
        for shift in range(3):
            writer.write(np.roll(np.asarray(scenes[0].frames[0]), 4 * shift, axis=1))
    content = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
    with testclient.TestClient(backend.create_app(Engine(*shipped))) as client:
        prediction = predict(client, VIDEOS, {"video": content, "text": "the red circle"})
    assert prediction["result"]
    for region in prediction["result"]:
        value = region["value"]
        assert value["labels"] == ["red circle"]
        assert value["framesCount"] == 6
        assert {entry["frame"] for entry in value["sequence"]} <= {1, 3, 5}
        assert all(entry["x"] >= 0 and entry["x"] + entry["width"] <= 100.001 for entry in value["sequence"])


@pytest.mark.parametrize(
    ("config", "data", "told"),
    [
        ("<View><Text name='t' value='$t'/></View>", {"t": "x"}, "no <Image>"),
        ("<View><Image name='image' value='$image'/></View>", {"image": "data:,"}, "<BrushLabels"),
        (PICTURES, {"image": "/etc/passwd"}, "no address that Label Studio hands out"),
        (PICTURES, {}, "image"),
    ],
)
def test_what_can_not_be_answered_is_one_sentence(client, config, data, told):
    """Label Studio shows it to whoever set the project up."""
    answer = client.post("/predict", json={"tasks": [{"id": 1, "data": data}], "label_config": config})
    assert answer.status_code == 400
    assert told in answer.json()["error"]


def test_label_studio_finds_a_backend_that_is_up(client):
    """The two requests by which a backend is connected."""
    assert client.get("/health").json()["status"] == "UP"
    assert client.post("/setup", json={}).json()["model_version"].startswith("desa2va")


def test_a_list_of_other_files_is_not_followed(client, backend, tmp_path, monkeypatch):
    """Label Studio hands out what somebody uploaded; by its path FFmpeg opened the videos that such a list names."""
    with VideoWriter(tmp_path / "other.mp4", 8) as writer:
        for _ in range(3):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile 'other.mp4'\n")
    monkeypatch.setattr(backend, "get_local_path", lambda address, task_id: str(tmp_path / "list.mp4"))
    body = {"tasks": [{"id": 1, "data": {"video": "/data/upload/list.mp4"}}], "label_config": VIDEOS}
    answer = client.post("/predict", json=body)
    assert answer.status_code == 400
    assert "other.mp4" not in answer.text
    assert str(tmp_path) not in answer.text
