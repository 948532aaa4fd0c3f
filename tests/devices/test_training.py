"""One step of every phase on a device that is only a name, as the command runs it, and what is done around it."""

import itertools

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState

from benchmarks.training_steps import STEPS, take_step
from desa2va.training import warm_start
from desa2va.training.arguments import DeSa2VATrainingArguments
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.label_refit import refit_label_projection, start_prompts
from desa2va.training.label_states import LabelReader

from .logical_devices import label_of

CUDA = torch.device("cuda", 0)


@pytest.fixture
def on_cuda(devices, monkeypatch):
    """The process is told that its device is `cuda`."""
    monkeypatch.setattr(PartialState, "default_device", property(lambda self: CUDA))
    found = DeSa2VATrainingArguments.device.fget  # also sets up what else the arguments know of processes
    monkeypatch.setattr(DeSa2VATrainingArguments, "device", property(lambda self: (found(self), CUDA)[1]))
    forked = torch.random.fork_rng
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: forked([]))  # a name has no generator of its own
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_every_phase(name, tmp_path, on_cuda):
    """The label reader's states stayed on the CPU and met W_l: phases 1 to 3 failed on every GPU."""
    step = take_step(name, tmp_path / "run")
    assert step["grad_norm"] > 0
    assert step["device"] == "cuda:0"


def test_start_values_are_computed_where_the_model_is(shipped, placed, on_cuda):
    """The model and its 960 samples stayed on the CPU until the trainer came."""
    model, processor = placed(mllm="cuda", segmenter="cuda", decoupling="cuda", fusion="cuda")
    reader = LabelReader(model, processor.tokenizer)
    data = RefShapes("train", "full", conversations=2, length=4)
    batches = [processor.collate([data[0], data[1]]), processor.collate([data[2], data[3]])]
    warm_start.fan_in(model)
    warm_start.whiten_patch_embeddings(model, batches)
    warm_start.whiten_labels(model, reader, [phrase for batch in batches for phrase in batch["object_labels"]])
    seen = warm_start.read_seg_states(model, batches, reader)
    assert {label_of(value) for value in vars(seen).values()} == {CUDA}
    for projection, prompts in ((model.decoupling.text, seen.labels), (model.decoupling.visual, seen.clicks)):
        warm_start.fit_projection(projection, seen.states, prompts)
    model.segmenter.copy_decoders()
    warm_start.visual_from_text(model)
    warm_start.favour_visual(model)
    assert {label_of(value) for value in model.state_dict().values()} == {CUDA}


def test_labels_are_read_and_refitted_where_the_model_is(placed, on_cuda):
    model, processor = placed(mllm="cuda", segmenter="cuda", decoupling="cuda", fusion="cuda")
    reader = LabelReader(model, processor.tokenizer)
    words = (("small", "large", "tiny"), ("red", "green", "blue", "white"), ("circle", "square", "star"))
    phrases = [" ".join(parts) for parts in itertools.product(*words)]
    assert label_of(reader(phrases)) == CUDA
    prompts = start_prompts(model, reader, phrases)
    assert refit_label_projection(model, processor.tokenizer, phrases, prompts) > 0.9
