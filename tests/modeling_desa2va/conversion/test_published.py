"""Published layouts from the generator beside this file: a native model, written as the peer would, read by us."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from desa2va.modeling_desa2va.conversion import load_sa2va, sa2va_processor
from tests.modeling_desa2va.conversion import published
from tests.modeling_desa2va.conversion.published_configs import SA2VA, begin_and_end, token_id

SHARED = Path(os.environ.get("DESA2VA_SHARED", Path(__file__).resolve().parents[4] / "shared"))


def question(name):
    """One picture, a few words and `[SEG]`, as tensors."""
    family = SA2VA[name][0]
    generator = torch.Generator().manual_seed(3)
    words = [*range(40, 52)]
    inputs = {
        "image_index": torch.zeros(1, dtype=torch.long),
        "sam_pixel_values": torch.randn(1, 3, 256, 256, generator=generator),
        "sam_frame_visual": torch.zeros(1, dtype=torch.long),
        "sequence_visual": torch.zeros(1, dtype=torch.long),
    }
    if "vl" in family:
        side = 16 if family == "qwen3_vl" else 14
        image = [token_id(family, "<|vision_start|>"), *[token_id(family, "<|image_pad|>")] * 4]
        image += [token_id(family, "<|vision_end|>")]
        inputs |= {
            "pixel_values": torch.randn(16, 6 * side * side, generator=generator),
            "image_grid_thw": torch.tensor([[1, 4, 4]]),
        }
    else:
        image = [token_id(family, "<img>"), *[token_id(family, "<IMG_CONTEXT>")] * 256, token_id(family, "</img>")]
        inputs |= {
            "pixel_values": torch.randn(1, 3, 448, 448, generator=generator),
            "num_tiles": torch.ones(1, dtype=torch.long),
        }
    ids = torch.tensor([[*image, *words, token_id(family, "[SEG]"), begin_and_end(family)[1]]])
    if "vl" in family:
        inputs["mm_token_type_ids"] = (ids == token_id(family, "<|image_pad|>")).long()
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **inputs}


@pytest.mark.parametrize("name", SA2VA)
def test_a_published_sa2va_gives_the_outputs_of_its_native_model(name, tmp_path):
    """Two tensors of one shape that change places (gate and up, k and v, two norms) load without a word."""
    native = published.write_sa2va(tmp_path, name, shards=3)
    loaded = load_sa2va(tmp_path, sa2va_processor(tmp_path, 256).tokenizer, dtype=torch.float32)
    with torch.no_grad():
        expected, found = native(**question(name)), loaded(**question(name))
    assert expected.masks.logits.std() > 0.1
    torch.testing.assert_close(found.masks.logits, expected.masks.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-4)
    own = loaded.state_dict()
    assert all(torch.equal(own[key], value) for key, value in native.state_dict().items())


def kinds(names):
    """Names without the numbers of layers."""
    return {".".join("N" if part.isdigit() else part for part in name.split(".")) for name in names}


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("Sa2VA-8B", "internlm2"),
        ("Sa2VA-1B", "internvl_vp"),
        ("Sa2VA-Qwen2_5-VL-3B", "qwen2_5_vl"),
        ("Sa2VA-Qwen3-VL-4B", "qwen3_vl"),
    ],
)
def test_the_generator_writes_the_published_names(name, layout, tmp_path):
    """A generator with names of its own would only be read back by a mapping with the same mistake."""
    listed = SHARED / "peer_golden" / layout / "PARAMETERS.tsv"
    if not listed.is_file():
        pytest.skip(f"no list of published parameters in {listed} (set DESA2VA_SHARED)")
    published.write_sa2va(tmp_path, name)
    stored = {line.split("\t")[0] for line in listed.read_text().splitlines() if "\t" in line}
    assert kinds(load_file(tmp_path / "model.safetensors")) == kinds(stored)
    config = json.loads((tmp_path / "config.json").read_text())
    theirs = json.loads((listed.parent / "config.json").read_text())
    assert config.keys() - {"transformers_version"} <= theirs.keys()


def test_rotary_tables_in_bfloat16_are_the_peers(tmp_path):
    """The peer keeps InternLM2's tables rounded to bfloat16; so are those that attention multiplies with here."""
    published.write_sa2va(tmp_path, "Sa2VA-8B")
    model = load_sa2va(tmp_path, sa2va_processor(tmp_path, 256).tokenizer, dtype=torch.bfloat16)
    rotary, text = model.mllm.model.language_model.rotary_emb, model.config.get_text_config()
    width, base = text.hidden_size // text.num_attention_heads, text.rope_parameters["rope_theta"]
    steps = torch.arange(2048).float()[:, None] / base ** (torch.arange(0, width, 2).float() / width)
    angles = torch.cat([steps, steps], -1)
    found = rotary(torch.zeros(1, 1, width, dtype=torch.bfloat16), torch.arange(2048)[None])
    for table, exact in zip(found, (angles.cos(), angles.sin()), strict=True):
        assert table.dtype == torch.bfloat16
        torch.testing.assert_close(table[0].float(), exact.bfloat16().float(), rtol=0, atol=2**-8)
        assert (table[0] == exact.bfloat16()).float().mean() > 0.999
