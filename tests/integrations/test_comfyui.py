"""The node pack in a stand-in for ComfyUI: graphs of pictures, of videos with words and clicks, Cancel."""

import re
import sys

import numpy as np
import pytest
import torch

import desa2va
from tests.desa2va.test_docs import ROOT
from tests.integrations.comfy_stub import Comfy, Interrupted

PACK = ROOT / "integrations" / "comfyui"


@pytest.fixture
def comfy(monkeypatch):
    """The program, without any of its modules left behind."""
    comfy = Comfy()
    for name, module in comfy.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    yield comfy
    for name in [name for name in sys.modules if name.startswith("custom_nodes_")]:
        del sys.modules[name]


@pytest.fixture
def nodes(comfy, shipped, monkeypatch):
    """The pack, with a model that is loaded already."""
    found = comfy.load(PACK)
    monkeypatch.setattr(desa2va, "load", lambda name, dtype=None: shipped, raising=False)
    return found


@pytest.fixture(scope="module")
def images(scenes):
    """Two pictures as ComfyUI holds them."""
    return torch.from_numpy(np.stack([np.asarray(scene.frames[0]) for scene in scenes[:2]])).float() / 255


@pytest.fixture(scope="module")
def frames(scenes):
    """A video of four frames, to the right."""
    picture = torch.from_numpy(np.asarray(scenes[0].frames[0])).float() / 255
    return torch.stack([picture.roll(3 * shift, dims=1) for shift in range(4)])


MODEL = ("DeSa2VAModel", {"name": "desa2va-tiny", "dtype": "auto"})


def test_pictures_in_and_the_masks_of_the_python_api_out(comfy, nodes, images, shipped):
    """[B, H, W], several objects, each on its own picture; the union beside them."""
    text = "the red object\n\nthe circle\n"
    graph = {
        "model": MODEL,
        "cut": ("DeSa2VASegmentPictures", {"model": ("model", 0), "images": images, "text": text}),
        "one": (
            "DeSa2VAPickObject",
            {"objects": ("cut", 0), "like": ("cut", 1), "number": -1, "name": ""},
        ),
    }
    objects, mask, answers = comfy.run(nodes, graph, "cut")
    assert (comfy.progress, comfy.total) == (2, 2)
    model, processor = shipped
    wanted = np.zeros(images.shape[:3], bool)
    count = 0
    for place in range(2):
        picture = (images[place] * 255).round().byte().numpy()
        inputs = processor(images=picture, text=["the red object", "the circle"], task="segment")
        for result in processor.post_process(model.generate(**inputs, max_new_tokens=128), inputs):
            for entry in result.objects:
                wanted[place] |= entry.mask()
                count += 1
    assert (mask.dtype, tuple(mask.shape)) == (torch.float32, (2, 128, 128))
    assert torch.equal(mask.bool(), torch.from_numpy(wanted))
    assert len(objects) == count
    assert len(answers.splitlines()) == 4
    everything, _, number = comfy.run(nodes, graph, "one")
    assert torch.equal(everything, mask)
    assert number == count


def test_clicks_know_their_frame(comfy, nodes, frames, shipped):
    """A click on frame 2 that is read on frame 0 marks something else."""
    click = {"inside": True, "number": 0}
    graph = {
        "model": MODEL,
        "first": ("DeSa2VAClick", {"frame": 2, "x": 40.0, "y": 40.0, **click}),
        "second": ("DeSa2VAClick", {"frame": 3, "x": 60.0, "y": 60.0, **click, "earlier": ("first", 0)}),
        "other": (
            "DeSa2VAClick",
            {"frame": 0, "x": 90.0, "y": 90.0, "inside": True, "number": 5, "earlier": ("second", 0)},
        ),
        "cut": (
            "DeSa2VASegmentVideo",
            {"model": ("model", 0), "frames": frames, "text": "", "clicks": ("other", 0)},
        ),
        "one": ("DeSa2VAPickObject", {"objects": ("cut", 0), "like": ("cut", 1), "number": 0, "name": "click 5"}),
    }
    objects, mask, _ = comfy.run(nodes, graph, "cut")
    pictures = [(frame * 255).round().byte().numpy() for frame in frames]
    with desa2va.DeSa2VASession(*shipped, pictures) as session:
        session.add(points=[[40, 40, 1]], frame=2)
        session.correct(0, 3, points=[[60, 60, 1]])
        session.add(points=[[90, 90, 1]], frame=0)
        wanted = {frame.frame: frame for frame in session.propagate()}
        last = session.results()
    assert sorted(wanted) == [0, 1, 2, 3]
    for found, entry in zip(objects, last.objects, strict=True):
        assert np.array_equal(found.masks, entry.masks)
    name = comfy.run(nodes, graph, "one")[1]
    assert name == "click 5"
    assert tuple(mask.shape) == (4, 128, 128)
    assert len(comfy.run(nodes, graph, "first")[0]) == 1  # a longer chain has not changed the shorter one


def test_words_and_clicks_together_and_cancel(comfy, nodes, frames):
    """A long video that can not be stopped holds the whole program."""
    graph = {
        "model": MODEL,
        "click": ("DeSa2VAClick", {"frame": 0, "x": 40.0, "y": 40.0, "inside": True, "number": 0}),
        "cut": (
            "DeSa2VASegmentVideo",
            {"model": ("model", 0), "frames": frames, "text": "the red object", "clicks": ("click", 0)},
        ),
    }
    objects, _, answers = comfy.run(nodes, graph, "cut")
    assert "click 0" in [found.name for found in objects]
    assert answers.startswith("the red object: ")
    comfy.progress, comfy.cancel_after = 0, 1
    with pytest.raises(Interrupted):
        comfy.run(nodes, graph, "cut")


def test_what_can_not_be_meant_is_one_sentence(comfy, nodes, frames):
    """ComfyUI shows the sentence at the node."""
    graph = {
        "model": MODEL,
        "pictures": ("DeSa2VASegmentPictures", {"model": ("model", 0), "images": frames, "text": " \n"}),
        "video": ("DeSa2VASegmentVideo", {"model": ("model", 0), "frames": frames, "text": ""}),
        "click": ("DeSa2VAClick", {"frame": 9, "x": 40.0, "y": 40.0, "inside": True, "number": 0}),
        "beyond": (
            "DeSa2VASegmentVideo",
            {"model": ("model", 0), "frames": frames, "text": "", "clicks": ("click", 0)},
        ),
        "pick": ("DeSa2VAPickObject", {"objects": [], "like": frames[..., 0], "number": 1, "name": "dog"}),
    }
    for key, told in (
        ("pictures", "text is empty"),
        ("video", "nothing is asked"),
        ("beyond", "frame 9|9"),
        ("pick", "no object 1 with 'dog'"),
    ):
        with pytest.raises(ValueError, match=told):
            comfy.run(nodes, graph, key)


def test_the_pack_starts_nothing_and_reads_nothing_by_itself():
    """A node pack runs with all rights of its user: no pickle, no other process, no web route, no eval."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACK.glob("*.py"))
    assert not re.findall(r"pickle|subprocess|os\.system|PromptServer|torch\.load|\beval\(|\bexec\(|socket", code)
