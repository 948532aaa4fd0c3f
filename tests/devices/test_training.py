"""One step of every phase on a device that is only a name, as the command runs it, and what is done around it."""

import itertools
import json

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState

from desa2va.training import warm_start
from desa2va.training.arguments import DeSa2VATrainingArguments
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.label_refit import refit_label_projection
from desa2va.training.label_states import LabelReader
from desa2va.training.train import run_recipe

from .logical_devices import label_of

CUDA = torch.device("cuda", 0)
MASKS = {"language": 1.0, "visual_mask": 1.0, "text_mask": 0.5, "fused_mask": 1.0, "iou": 0.1, "object_score": 0.1}
EXTRAS = {**MASKS, "adversarial": 0.1, "club": 0.1, "orthogonality": 0.1, "alignment": 0.1}
MOTION = {**MASKS, "motion_invariance": 0.1, "motion_order": 0.1}
BASELINE = {name: weight for name, weight in MASKS.items() if name != "text_mask"}
VISION = {"dense": 1.0, "presence": 1.0}
SEGMENTER = dict.fromkeys(("prompt_mask", "named_mask", "memory_mask", "reread_mask", "dense", "iou"), 1.0)
GROUNDING = dict.fromkeys(("language", "grounding", "attention", "word"), 1.0)
CLIPS = {"options": {"level": "full", "conversations": 2, "length": 8, "video_fraction": 0.5, "num_frames": 3}}
STEPS = {
    "vision": {"training": {"phase": "vision", "weights": VISION}},
    "segmenter": {"training": {"phase": "segmenter", "weights": SEGMENTER}, "data": CLIPS},
    "grounding": {"training": {"phase": "grounding", "weights": GROUNDING}},
    "text_pretraining": {"training": {"phase": "text_pretraining", "weights": {"label_mask": 1.0, "iou": 0.1}}},
    "decoupling": {"training": {"phase": "decoupling", "weights": EXTRAS, "language_model": "full"}},
    "baseline": {"training": {"phase": "decoupling", "weights": BASELINE}, "model": {"prompt_mode": "sa2va"}},
    "lora": {"training": {"phase": "decoupling", "weights": MASKS, "language_model": "lora", "lora_rank": 4}},
    "fusion": {"training": {"phase": "fusion", "weights": EXTRAS}, "model": {"fusion": "pixel"}},
    "motion": {"training": {"phase": "fusion", "weights": MOTION}, "model": {"temporal": "motion"}, "data": CLIPS},
}


@pytest.fixture
def on_cuda(devices, monkeypatch):
    """The process is told that its device is `cuda`."""
    monkeypatch.setattr(PartialState, "default_device", property(lambda self: CUDA))
    monkeypatch.setattr(DeSa2VATrainingArguments, "device", property(lambda self: CUDA))
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_every_phase(name, tmp_path, on_cuda):
    """The label reader's states stayed on the CPU and met W_l: phases 1 to 3 failed on every GPU."""
    common = {"max_steps": 1, "per_device_train_batch_size": 2, "logging_steps": 1, "language_model": "frozen"}
    common |= {"save_strategy": "no", "disable_tqdm": True}
    step = {**STEPS[name], "training": {**common, **STEPS[name]["training"]}}
    folder = run_recipe({"output_dir": str(tmp_path / "run"), "init_from": "desa2va-tiny", **step})
    first = json.loads((folder / "trainer_state.json").read_text())["log_history"][0]
    assert first["grad_norm"] > 0
    assert json.loads((folder / "stage.json").read_text())["device"] == "cuda:0"


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
    assert refit_label_projection(model, reader) > 0.9
