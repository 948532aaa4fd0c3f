"""The FiftyOne source: found, loaded and applied as any model of its zoo."""

import importlib.util
import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from tests.desa2va.test_docs import ROOT

SOURCE = ROOT / "integrations" / "fiftyone"
fo = pytest.importorskip("fiftyone", reason="fiftyone is not installed")


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """An empty model zoo with this source."""
    monkeypatch.setattr(fo.config, "model_zoo_dir", str(tmp_path / "zoo"))
    # FiftyOne keeps a source under its name and imports it under that path, which must not be `desa2va`.
    name = json.loads((SOURCE / "manifest.json").read_text(encoding="utf-8"))["name"]
    shutil.copytree(SOURCE, tmp_path / "zoo" / name, ignore=shutil.ignore_patterns("__pycache__"))
    import fiftyone.zoo as foz

    yield foz
    for name in [name for name in sys.modules if "desa2va-models" in name or name == "fiftyone_source"]:
        del sys.modules[name]


@pytest.fixture
def source(monkeypatch, shipped):
    """The module of the source, with a model that is loaded already."""
    spec = importlib.util.spec_from_file_location("fiftyone_source", SOURCE / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.desa2va, "load", lambda name, device=None: shipped, raising=False)
    return module


def picture(scenes, number):
    return np.asarray(scenes[number].frames[0])


def test_the_zoo_finds_and_loads_the_source(zoo, scenes, shipped):
    """As a user of a remote source does; what differs from a picture to the next is the size too."""
    assert "desa2va" in zoo.list_zoo_models()
    model = zoo.load_zoo_model("desa2va", device="cpu", text=["the red object", "the circle"], cache=False)
    pictures = [picture(scenes, 0), picture(scenes, 1)[:100]]
    found = model.predict_all(pictures)
    inner, processor = shipped
    for shown, detections in zip(pictures, found, strict=True):
        inputs = processor(images=shown, text=["the red object", "the circle"], task="segment")
        results = processor.post_process(inner.generate(**inputs, max_new_tokens=128), inputs)
        wanted = [one for result in results for one in result.to_fiftyone().detections]
        assert [one.label for one in detections.detections] == [one.label for one in wanted]
        for one, other in zip(detections.detections, wanted, strict=True):
            assert np.array_equal(one.mask, other.mask)


def test_requests_come_from_the_samples(source, scenes):
    """A referring data set has a sentence for each picture."""
    model = source.DeSa2VAZooModel(text_field="question")
    samples = [{"question": "the circle"}, {"question": ["the circle", "the red object"]}]
    one, two = model.predict_all([picture(scenes, 0)] * 2, samples=samples)
    assert len(one.detections) <= len(two.detections)
    model.needs_fields = {}  # as `apply_model` leaves it; every picture failed by it
    (again,) = model.predict_all([picture(scenes, 0)], samples=samples[:1])
    assert [found.label for found in again.detections] == [found.label for found in one.detections]
    with pytest.raises(ValueError, match="nothing in its field 'question'"):
        model.predict(picture(scenes, 0), sample={"question": None})
    with pytest.raises(ValueError, match="say what to segment"):
        source.DeSa2VAZooModel()


def test_a_small_data_set_is_labelled(source, scenes, tmp_path):
    """The whole way through FiftyOne's own data base, where it runs."""
    for number in range(2):
        Image.fromarray(picture(scenes, number)).save(tmp_path / f"{number}.png")
    try:
        dataset = fo.Dataset()
    except Exception as error:  # its server of many kinds of trouble
        pytest.skip(f"FiftyOne's data base does not run here: {error!s:.100}")
    try:
        dataset.add_samples([fo.Sample(str(tmp_path / f"{number}.png"), question="the circle") for number in range(2)])
        dataset.apply_model(source.DeSa2VAZooModel(text_field="question"), label_field="found", progress=False)
        for sample in dataset:
            for one in sample["found"].detections:
                assert one.mask.any()
        assert dataset.count("found.detections") > 0
    finally:
        dataset.delete()
