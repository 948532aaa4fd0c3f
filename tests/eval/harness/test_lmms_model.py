"""Under lmms-eval itself, where it is installed: its registry, its tasks' own scoring, the shipped model."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import desa2va

ROOT = Path(desa2va.__file__).resolve().parent.parent


def test_the_entry_point_leads_to_the_manifest():
    """A name in pyproject.toml that leads nowhere is noticed only where lmms-eval is installed."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition('[project.entry-points."lmms_eval.models"]')[2]
    module, name = re.search(r'^desa2va = "(.+):(.+)"$', section, re.MULTILINE).groups()
    assert callable(getattr(import_module(module), name))


@pytest.fixture
def harness():
    """lmms-eval with this model registered, as its entry points do."""
    registry = pytest.importorskip("lmms_eval.models.registry_v2", reason="lmms-eval is not installed")
    from desa2va.eval.harness.lmms_manifest import manifest

    found = registry.ModelRegistryV2()
    found.register_manifest(manifest())
    return found.get_model_class("desa2va")


class Request:
    def __init__(self, *arguments):
        self.args = arguments


def messages(kind, url, text):
    return lambda doc: [{"role": "user", "content": [{"type": kind, "url": url}, {"type": "text", "text": text}]}]


def answers(model, task, doc, said):
    model.task_dict[task] = {"test": [doc]}
    return model.generate_until([Request("", said, {"max_new_tokens": 32}, 0, task, "test")])[0]


def test_chat_masks_and_tracks(harness, tmp_path):
    """Replies of the shipped model about a made scene, read by the tasks' own code."""
    from lmms_eval.tasks.rvos.utils import extract_tracks
    from lmms_eval.tasks.saco.utils import parse_predicted_masks
    from PIL import Image

    model = harness(device="cpu")
    assert not harness.is_simple
    assets = ROOT / "desa2va" / "assets" / "demo"
    scene, clip = Image.open(assets / "scene.png").convert("RGB"), str(assets / "clip.mp4")
    said = messages("image", scene, "What color is the small cross?")
    assert answers(model, "mme", {}, said).strip()
    found = parse_predicted_masks(answers(model, "saco_gold_food", {"expression": "the red object"}, said))
    assert found
    assert found[0]["size"] == [scene.height, scene.width]
    text = answers(
        model, "rvos_mevis_valid_u", {"expression": "the cross"}, messages("video", clip, "Track the cross")
    )
    frames = extract_tracks(text, 128, 128, 6.0)
    assert frames
    assert all(0 <= place <= 128 for frame in frames for point in frame["points"].values() for place in point["point"])
    several = lambda doc: said(doc) + said(doc)  # noqa: E731
    assert answers(model, "mme", {}, several) == ""
    with pytest.raises(ValueError, match="the batch size must be 1"):
        harness(batch_size=4)
    with pytest.raises(ValueError, match="unknown pretraned"):
        harness(pretraned="x")
    with pytest.raises(ValueError, match="output_type loglikelihood"):
        model.loglikelihood([])
