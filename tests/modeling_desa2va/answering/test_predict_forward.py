"""`predict_forward` against every stored run of the peer's own: the same text to the letter, the same masks."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

SHARED = Path(os.environ.get("DESA2VA_SHARED", Path(__file__).resolve().parents[4] / "shared"))
GOLDEN = SHARED / "peer_golden"
pytestmark = pytest.mark.skipif(
    not (GOLDEN / "internlm2").is_dir(), reason=f"no stored runs of the peer in {GOLDEN} (set DESA2VA_SHARED)"
)
RUNS = sorted(
    (path.parent.name, path.stem) for path in GOLDEN.glob("*/*.npz") if not path.stem.endswith("bf16_cpu")
) or [("internlm2", "image")]


PICTURE = Image.new("RGB", (40, 40))


@pytest.mark.parametrize(("layout", "run"), RUNS)
def test_text_and_masks_are_the_peers(stored_peer, layout, run, monkeypatch):
    """Regions, a `[SEG]` in the prompt, frames of a video, no picture at all, another chat template."""
    model, _ = stored_peer(layout)
    if run == "image_nosystem":
        template = (GOLDEN / layout / "chat_template_nosystem.jinja").read_text()
        monkeypatch.setattr(model.processor, "chat_template", template)
    text = json.loads((GOLDEN / layout / "META.json").read_text())["facts"][run]["user_text"]
    with np.load(GOLDEN / layout / f"{run}.npz") as file:
        stored = {name: file[name] for name in file.files}
    given = {}
    if "input_u8" in stored:
        pictures = [Image.fromarray(frame) for frame in stored["input_u8"].reshape(-1, *stored["input_u8"].shape[-3:])]
        given = {"video": pictures} if run == "video" else {"image": pictures[0]}
    if "mask_prompts" in stored:
        given["mask_prompts"] = [stored["mask_prompts"].astype(np.float32)]
    answer = model.predict_forward(text=text, tokenizer=model.processor.tokenizer, **given)
    assert answer["prediction"] == str(stored["prediction"])
    expected = stored.get("prediction_masks", [])
    assert len(answer["prediction_masks"]) == len(expected)
    for mask, truth in zip(answer["prediction_masks"], expected, strict=True):
        assert mask.dtype == bool
        assert (mask != truth).sum() <= max(2, truth[0].size // 50000)


@pytest.mark.parametrize(
    ("layout", "given", "message"),
    [
        ("internlm2", {"text": None}, "text= is missing"),
        ("internlm2", {"text": "Where?", "image": PICTURE}, "must hold <image> once"),
        ("internlm2", {"text": "<image> and <image>", "image": PICTURE}, "must hold <image> once"),
        ("internlm2", {"text": "<image>", "image": PICTURE, "video": [PICTURE]}, "not both"),
        ("internlm2", {"text": "<image>", "image": PICTURE, "past_text": "earlier"}, "past_text= must be empty"),
        ("internlm2", {"text": "<image>", "image": PICTURE, "mask_prompts": np.ones((2, 9, 9))}, "mask_prompts="),
        (
            "qwen3_vl",
            {"text": "x", "image": PICTURE, "mask_prompts": [np.ones((1, 9, 9))]},
            "Qwen-VL models have none",
        ),
    ],
)
def test_what_the_peer_gets_wrong_silently_is_refused(stored_peer, layout, given, message):
    """There a picture without its place is ignored, and counts that differ leave all image tokens empty."""
    with pytest.raises(ValueError, match=message):
        stored_peer(layout)[0].predict_forward(**given)


def test_a_model_of_our_own_says_which_call_it_has(shipped):
    model, _ = shipped
    with pytest.raises(ValueError, match="generate"):
        model.predict_forward(image=Image.new("RGB", (64, 64)), text="<image>the circle")


def test_an_answer_ends_at_a_stop_string(stored_peer, tmp_path, monkeypatch):
    """Sa2VA-4B's prompt format ends with a text that its tokenizer spells out: nothing else would stop it."""
    model, processor = stored_peer("internvl_vp")
    monkeypatch.setattr(processor, "stop_strings", ["<|end|>"])
    inputs = processor.sa2va_inputs(Image.new("RGB", (64, 64)), None, "<image>Please segment the ball.")
    ids = processor.tokenizer.encode("It is.<|end|>", add_special_tokens=False)
    steps = iter([*ids, *ids])

    def force(_, scores):
        return torch.full_like(scores, -1e9).index_fill(1, torch.tensor(next(steps)), 0.0)

    output = model.generate(**inputs, max_new_tokens=2 * len(ids), logits_processor=[force])
    assert output.sequences[0].tolist() == ids
    assert processor.post_process(output, inputs)[0].text == "It is."
