"""Published layouts from raw pictures and text to masks, against the stored runs of the peer's own code (fp32)."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import desa2va

SHARED = Path(os.environ.get("DESA2VA_SHARED", Path(__file__).resolve().parents[4] / "shared"))
GOLDEN = SHARED / "peer_golden"
pytestmark = pytest.mark.skipif(
    not (GOLDEN / "internlm2").is_dir(), reason=f"no stored runs of the peer in {GOLDEN} (set DESA2VA_SHARED)"
)
BALL_AND_BOX = "Please segment the red ball and the blue box."
RUNS = {
    ("internlm2", "image"): BALL_AND_BOX,
    ("internvl_vp", "image_no_region"): "Please segment the object in region1 and region2.",
    ("qwen3_vl", "image"): BALL_AND_BOX,
    ("qwen3_vl", "video"): "Please segment the ball.",
    ("qwen2_5_vl", "image"): BALL_AND_BOX,
    ("qwen2_5_vl", "text"): "Hello!",
}


@pytest.mark.parametrize(("layout", "run"), RUNS)
def test_from_raw_input_to_masks(stored_peer, layout, run):
    """Wrong pixels, prompt, norm, position or resize each moves one of these numbers by a hundred tolerances."""
    model, processor = stored_peer(layout)
    with np.load(GOLDEN / layout / f"{run}.npz") as file:
        stored = {name: torch.from_numpy(file[name]) for name in file.files if file[name].dtype.kind in "fbiu"}
    frames = stored.get("input_u8")
    if frames is None:
        visual = {}
    elif run == "video":
        visual = {"videos": frames.numpy()}
    else:
        visual = {"images": frames.numpy().reshape(*frames.shape[-3:])}
    batch = processor(text=RUNS[layout, run], **visual)
    assert batch["input_ids"][0].tolist() == stored["prompt_ids"].tolist()
    output = model.generate(**batch)
    assert output.sequences[0].tolist() == stored["generated_ids"].tolist()
    result = processor.post_process(output, batch)[0]
    if frames is None:
        assert not result.objects
        return
    torch.testing.assert_close(batch["sam_pixel_values"][0], stored["sam_in_frame0"], atol=1e-6, rtol=0)
    answer = model.answer_key_frames(**batch)
    torch.testing.assert_close(answer.prompts.visual[:, 0], stored["seg_proj"], atol=1e-4, rtol=0)
    logits = torch.stack([track.float() for track in output.track_logits])
    torch.testing.assert_close(logits, stored["low_res_masks"][:, :, 0], atol=2e-3, rtol=0)
    for found, masks in zip(result.objects, stored["prediction_masks"].numpy(), strict=True):
        for frame, mask in enumerate(masks):
            assert (found.mask(frame) != mask).sum() <= max(2, mask.size // 50000)


def test_qwen_prompts_follow_the_template_of_the_checkpoint(stored_peer):
    """Whether there is a system turn is the checkpoint's affair; both kinds were stored."""
    _, processor = stored_peer("qwen2_5_vl")
    folder = GOLDEN / "qwen2_5_vl"
    with np.load(folder / "image_nosystem.npz") as file:
        picture, ids = file["input_u8"][0], file["prompt_ids"].tolist()
    template = processor.chat_template
    try:
        processor.chat_template = (folder / "chat_template_nosystem.jinja").read_text()
        assert processor(images=picture, text=BALL_AND_BOX)["input_ids"][0].tolist() == ids
    finally:
        processor.chat_template = template


def test_a_saved_model_ends_answers_alike(stored_peer, tmp_path):
    """InternLM2 ends answers with a token of the prompt format, which its own configuration does not state."""
    model, processor = stored_peer("internlm2")
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path, dtype=torch.float32).eval()
    with np.load(GOLDEN / "internlm2" / "image.npz") as file:
        picture, ids = file["input_u8"], file["generated_ids"].tolist()
    assert again.generate(**processor(images=picture, text=BALL_AND_BOX)).sequences[0].tolist() == ids


def test_the_first_stored_run_loads_by_one_line(tmp_path):
    """Its language model states no end token, and its SAM-2's sizes stand under other names."""
    shutil.copy(GOLDEN / "tiny_config.json", tmp_path / "config.json")
    shutil.copy(GOLDEN / "tiny_model.safetensors", tmp_path / "model.safetensors")
    for file in (GOLDEN / "tiny_tokenizer").iterdir():
        shutil.copy(file, tmp_path / file.name)
    model, processor = desa2va.load(tmp_path, device="cpu")
    with np.load(GOLDEN / "tiny_image.npz") as file:
        stored = {name: file[name] for name in ("image", "prompt_ids", "prediction", "prediction_masks")}
    text = "Please segment the red disc."
    assert processor(images=stored["image"], text=text)["input_ids"][0].tolist() == stored["prompt_ids"].tolist()
    answer = model.predict_forward(image=stored["image"], text=f"<image>{text}")
    assert answer["prediction"] == str(stored["prediction"])
    (mask,) = answer["prediction_masks"]
    assert (mask != stored["prediction_masks"][0]).sum() <= 2
