"""Stored tensors under the names of our parameters, and a model filled with them: whole, or not at all."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from desa2va.errors import memory_freed

from .names import Place
from .tensors import LazyTensor, Tensors

# Tables that are computed anew (older language models stored them), and the heads of Qwen3.5 that guess several tokens
# ahead, which nothing here reads.
DROPPED = re.compile(r".*\.rotary_emb\.inv_freq$|mtp\.")
_SHOWN = 3


@dataclass
class Part:
    """Half of a model as it is stored.

    Attributes:
        config: of the half. state: its weights by the names of its parameters. where: it comes from, for messages.
    """

    config: PreTrainedConfig
    state: dict[str, LazyTensor]
    where: Path | str


def arrange(tensors: Tensors, places: Callable[[str], list[Place]]) -> dict[str, LazyTensor]:
    """Stored tensors by the names of our parameters.

    Args:
        tensors: of a checkpoint. places: of a name, none where it does not belong.

    Raises:
        ValueError: a tensor that has no place.
    """
    parts: dict[str, list[tuple[int, Any, Any]]] = {}
    for name, stored in tensors.items():
        if DROPPED.match(name):
            continue
        found = places(name)
        if not found:
            raise ValueError(f"{stored.file}: the tensor {name} has no place in the model")
        for place in found:
            parts.setdefault(place.name, []).append((place.order or 0, stored, place.take))
    return {
        target: LazyTensor([(stored, take) for _, stored, take in sorted(found, key=lambda part: part[0])])
        for target, found in parts.items()
    }


def below(prefix: str, state: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """The same state with `prefix` before every name."""
    return {prefix + name: value for name, value in state.items()}


@memory_freed()
def load_complete(
    model_class: type[PreTrainedModel],
    where: Path | str,
    config: PreTrainedConfig,
    state: dict[str, LazyTensor],
    fresh: tuple[str, ...] = (),
    **options: Any,
) -> Any:
    """Fills a model with `state`; every parameter must be filled and every tensor used.

    Args:
        model_class: of the model. where: the weights come from, for messages. config: of the model. state: see
            `arrange`. fresh: beginnings of parameters that no tensor fills and that start anew. options: of
            `from_pretrained`; without `dtype` it is the stored one.

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: naming the first parameters without a tensor, tensors without a parameter, or other shapes.
    """
    if options.get("dtype", "auto") == "auto":
        options["dtype"] = next((found for value in state.values() if (found := value.dtype)), torch.float32)
    with no_load_report():
        model, info = model_class.from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    missing = [name for name in info["missing_keys"] if not name.startswith(fresh or ("\0",))]
    others = (
        f"{state[name].origin if name in state else name}, where the model has {tuple(own)}"
        for name, _, own in info["mismatched_keys"]
    )
    found = (
        ("no tensor fills", missing),
        ("there is no parameter for", info["unexpected_keys"]),
        ("the shapes differ of", others),
    )
    complaints = [
        f"{what} {_some(names)}" for what, names in ((what, sorted(names)) for what, names in found) if names
    ]
    if complaints:
        raise ValueError(f"{where} is no complete checkpoint: {complaints[0]}")
    return model.eval()


@contextmanager
def no_load_report() -> Iterator[None]:
    """Silences transformers' report on weights, forty lines of which we say the one that matters.

    A filter, not a level: at level WARNING transformers complains about plans for parallel layers instead.
    """
    report = logging.getLogger("transformers.modeling_utils")
    report.addFilter(_is_error)
    try:
        yield
    finally:
        report.removeFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


__all__ = ["Part", "arrange", "below", "load_complete", "no_load_report"]
