"""Several sentences about one picture, and answers that are drafted: `python -m benchmarks.many_sentences`.

The language model has the 1B model's width, few layers and random weights; a picture is 1,280 tokens. Processor
seconds of whole answers of eight tokens, each way of asking in turns: what a reader pays for prompts read one by one,
for a picture that is read once, and for an answer that was expected. States of all ways are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from transformers import AutoConfig

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
from desa2va.configuration.presets import internvl_config, tiny_sam_config
from desa2va.modeling_desa2va.language import Answer, answers
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

TILES, TILE_TOKENS, BEFORE, SENTENCE, NEW_TOKENS = 5, 256, 20, 12, 8
VOCABULARY, IMAGE, SEG = 4096, 5, 6


def build(layers: int = 4, width: int = 896) -> DeSa2VAModel:
    """An InternVL of the 1B model's shape with few layers, in front of SAM-2 in miniature."""
    torch.manual_seed(0)
    mllm = internvl_config("1b").mllm_config.to_dict()
    mllm["text_config"] |= {"num_hidden_layers": layers, "vocab_size": VOCABULARY, "layer_types": None}
    mllm["text_config"] |= {"hidden_size": width, "intermediate_size": 5 * width, "num_attention_heads": width // 64}
    mllm["text_config"] |= {"eos_token_id": 2, "pad_token_id": 0, "bos_token_id": None}
    mllm["vision_config"] |= {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 2}
    mllm["vision_config"] |= {"intermediate_size": 128}
    mllm["image_token_id"] = IMAGE
    config = AutoConfig.for_model(**mllm)
    return DeSa2VAModel(DeSa2VAConfig(mllm_config=config, sam_config=tiny_sam_config(), seg_token_ids=[SEG])).eval()


def prompts(count: int) -> torch.Tensor:
    """(count, N) ids: what comes before the picture, the picture, and a sentence each."""
    generator = torch.Generator().manual_seed(1)
    before = torch.randint(10, VOCABULARY, (BEFORE,), generator=generator)
    shown = torch.cat([before, torch.full((TILES * TILE_TOKENS,), IMAGE)])
    sentences = torch.randint(10, VOCABULARY, (count, SENTENCE), generator=generator)
    return torch.cat([shown.expand(count, -1), sentences], dim=1)


@contextmanager
def one_by_one() -> Any:
    """Inside, prompts are read whole, as if they had nothing in common."""
    with mock.patch.object(answers, "common_beginnings", return_value=None):
        yield


def ask(model: DeSa2VAModel, ids: torch.Tensor, draft: torch.Tensor | None = None) -> Answer:
    """Answers prompts about one picture."""
    side = model.config.mllm_config.vision_config.image_size
    tiles = torch.zeros(TILES, 3, *([side, side] if isinstance(side, int) else side))
    inputs = {"pixel_values": tiles, "num_tiles": torch.tensor([TILES]), "max_new_tokens": NEW_TOKENS}
    inputs |= {"image_index": torch.zeros(len(ids), dtype=torch.long), "draft_ids": draft}
    shown = torch.ones(len(ids), dtype=torch.bool)
    with torch.no_grad():
        return model._answer(ids, torch.ones_like(ids), shown, "segment", inputs)


def measure(model: DeSa2VAModel, count: int, repeats: int) -> dict[str, Any]:
    """Seconds of every way, their ratios, and the largest difference of states."""
    one, many = prompts(1), prompts(count)
    draft = ask(model, one).sequences[0]
    ways = {
        "one": lambda: ask(model, one),
        "one, drafted": lambda: ask(model, one, draft),
        "many, read whole": lambda: ask(model, many),
        "many": lambda: ask(model, many),
    }
    taken, said = defaultdict(list), {}
    for _ in range(repeats):
        for name, way in ways.items():
            with one_by_one() if name == "many, read whole" else mock.MagicMock():
                start = time.process_time()
                said[name] = way()
                taken[name].append(time.process_time() - start)
    seconds = {name: round(statistics.median(values), 4) for name, values in taken.items()}
    pairs = (("one", "one, drafted"), ("many, read whole", "many"))
    return {
        "seconds": seconds,
        "many over one": round(seconds["many"] / seconds["one"], 3),
        "many read whole over one": round(seconds["many, read whole"] / seconds["one"], 3),
        "drafted over one": round(seconds["one, drafted"] / seconds["one"], 3),
        "state_difference": max(float((said[a].seg_states - said[b].seg_states).abs().max()) for a, b in pairs),
        "state_deviation": float(said["many"].seg_states.std()),
        "same_tokens": all(torch.equal(said[a].sequences, said[b].sequences) for a, b in pairs),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layers", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(measure(build(options.layers), options.sentences, options.repeats), indent=1))


if __name__ == "__main__":
    main()
