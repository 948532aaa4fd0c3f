"""What a caller of `generate` asks for, in the words of transformers, and what of it can be had (METHOD section 6).

Enters: keyword arguments of `generate`, among them `generation_config`, and the settings stored with the language
model. Leaves: `GenerationSettings`. Arguments win over `generation_config`, that over our own defaults (greedy, 512
new tokens), those over what is stored. What masks can not be made with is refused by name, never ignored.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from torch import nn
from transformers import GenerationConfig, StoppingCriteria
from transformers.generation import MaxTimeCriteria, StopStringCriteria

from desa2va.configuration.integers import as_integer

MAX_NEW_TOKENS = 512

# Arguments of transformers' `generate` that are no settings. The first ones are handed on as they are.
_HANDED_ON = ("prefix_allowed_tokens_fn", "synced_gpus")
_ARGUMENTS = (*_HANDED_ON, "generation_config", "logits_processor", "stopping_criteria", "streamer", "tokenizer")

_ONE_ANSWER = "masks need one answer per sequence, chosen token by token"
_ONE_STEP = "masks need the state of every token, from one step of one model each"
_NOT_KEPT = "generate keeps one state per object; ask the teacher-forced model(...) for more"
# Setting -> the values besides `None` that change nothing, and why others can not be had.
_REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "num_beams": ((1,), _ONE_ANSWER),
    "num_beam_groups": ((1,), _ONE_ANSWER),
    "num_return_sequences": ((1,), _ONE_ANSWER),
    "constraints": ((), _ONE_ANSWER),
    "force_words_ids": ((), _ONE_ANSWER),
    "penalty_alpha": ((0,), _ONE_STEP),
    "dola_layers": ((), _ONE_STEP),
    "guidance_scale": ((1,), _ONE_STEP),
    "prompt_lookup_num_tokens": ((), _ONE_STEP),
    "assistant_early_exit": ((), _ONE_STEP),
    "use_mtp": ((False,), _ONE_STEP),
    "prefill_chunk_size": ((), "a prompt with pictures is read at once"),
    "token_healing": ((False,), "the prompt is the processor's and is not changed"),
    "forced_eos_token_id": ((), "an answer ends at its limit without an end token"),
    "output_attentions": ((False,), _NOT_KEPT),
    "output_hidden_states": ((False,), _NOT_KEPT),
}


@dataclass
class GenerationSettings:
    """How one call generates.

    Attributes:
        config: for the language model's `generate`, without limit. max_new_tokens: the limit.
        eos_token_ids: ids that end an answer. logits_processor: further ones. stopping_criteria: further ones.
        streamer: receives tokens, or `None`. handed_on: other arguments of the language model's `generate`.
    """

    config: GenerationConfig
    max_new_tokens: int
    eos_token_ids: list[int]
    logits_processor: list[Any] = field(default_factory=list)
    stopping_criteria: list[StoppingCriteria] = field(default_factory=list)
    streamer: Any = None
    handed_on: dict[str, Any] = field(default_factory=dict)

    @property
    def usual_cache(self) -> bool:
        """Whether the caller asked for no other cache than transformers' own, nor for none."""
        return self.config.use_cache is not False and not self.config.cache_implementation


def generation_settings(mllm: nn.Module, prompt_length: int, given: Mapping[str, Any]) -> GenerationSettings:
    """Settings of one call.

    Args:
        mllm: the language model, with its stored `generation_config`.
        prompt_length: tokens of the prompt, which `max_length` counts too.
        given: arguments of `generate` that are no inputs; `None` counts as not given.

    Raises:
        ValueError: an argument that is not known, that masks can not be made with, or a limit without a new token.
        TypeError: a limit that is no integer.
    """
    given = {name: value for name, value in given.items() if value is not None}
    asked = given.get("generation_config")
    config = GenerationConfig() if asked is None else copy.deepcopy(asked)
    plain = {name: value for name, value in given.items() if name not in _ARGUMENTS}
    _check_names(plain)
    limit = _limit(plain, config, prompt_length)
    config.update(**{name: value for name, value in plain.items() if name not in ("max_length", "max_new_tokens")})
    config.max_length = config.max_new_tokens = None
    stored = mllm.generation_config

    def value(name: str) -> Any:
        chosen = getattr(config, name, None)
        return getattr(stored, name, None) if chosen is None else chosen

    _check_values({name: value(name) for name in _REFUSED})
    text = mllm.config.get_text_config()
    eos = _as_list(text.eos_token_id if value("eos_token_id") is None else value("eos_token_id"))
    pad = next(token for token in (value("pad_token_id"), text.pad_token_id, eos[0]) if token is not None)
    config.do_sample, config.eos_token_id, config.pad_token_id = bool(config.do_sample), eos, pad
    criteria = list(given.get("stopping_criteria", ()))
    if config.max_time is not None:
        criteria.append(MaxTimeCriteria(config.max_time))
    if config.stop_strings is not None:
        if "tokenizer" not in given:
            raise ValueError("stop_strings= needs the tokenizer too: generate(..., tokenizer=processor.tokenizer)")
        criteria.append(StopStringCriteria(given["tokenizer"], config.stop_strings))
    config.max_time = config.stop_strings = None
    return GenerationSettings(
        config=config,
        max_new_tokens=limit,
        eos_token_ids=eos,
        logits_processor=list(given.get("logits_processor", ())),
        stopping_criteria=criteria,
        streamer=given.get("streamer"),
        handed_on={name: given[name] for name in _HANDED_ON if name in given},
    )


def _check_names(given: Mapping[str, Any]) -> None:
    known = [name for name in vars(GenerationConfig()) if not name.startswith("_")]
    for name in given:
        if name not in known and name not in _REFUSED:
            near = get_close_matches(name, [*known, *_ARGUMENTS, "task", "return_branches"], n=1)
            raise ValueError(f"generate takes no argument {name!r}" + (f"; is {near[0]!r} meant?" if near else ""))


def _check_values(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        neutral, reason = _REFUSED[name]
        if value is not None and value not in neutral:
            raise ValueError(f"generate can not take {name}={value!r}: {reason}")


def _limit(given: Mapping[str, Any], config: GenerationConfig, prompt_length: int) -> int:
    """Most new tokens: what the arguments say, else what `generation_config` says, else `MAX_NEW_TOKENS`. In each,
    `max_new_tokens` wins over `max_length`, as in transformers.
    """
    for source in (given, vars(config)):
        if source.get("max_new_tokens") is not None:
            return as_integer(source["max_new_tokens"], "max_new_tokens", least=1)
        if source.get("max_length") is not None:
            return as_integer(source["max_length"], "max_length", least=prompt_length + 1) - prompt_length
    return MAX_NEW_TOKENS


def _as_list(value: Any) -> list[int]:
    return [as_integer(entry, "eos_token_id") for entry in (value if isinstance(value, (list, tuple)) else [value])]


__all__ = ["GenerationSettings", "generation_settings"]
