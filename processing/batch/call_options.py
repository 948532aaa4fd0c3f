"""Keyword arguments that processors of transformers take, and which of their values mean what is done here anyway.

In: the further keyword arguments of a call. Out: `CallOptions`, or an error that names the argument. What would change
the batch is refused, never ignored. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from desa2va.configuration.integers import as_integer
from desa2va.processing.inputs import shown

_OFF = (False, None)
_SCALES = "the processor has fixed sizes; they are fields of its image processors"
# Argument -> the values that change nothing, and why others can not be had.
_ACCEPTED: dict[str, tuple[tuple[Any, ...], str]] = {
    "return_tensors": (("pt", None), "a batch holds torch tensors, 'pt'"),
    "padding": ((True, "longest", None, *_OFF, "do_not_pad"), "a batch is padded to its longest sequence, True"),
    "padding_side": (("left", None), "answers are generated from the right end, so padding is on the left"),
    "truncation": ((*_OFF, "do_not_truncate"), "nothing is ever cut off; shorten the text or use fewer frames"),
    "stride": ((0, None), "nothing is ever cut off"),
    "add_special_tokens": ((True, *_OFF), "the chat template writes them"),
    "split_special_tokens": ((True, None), "control tokens in the words of a user are always spelled out"),
    "is_split_into_words": (_OFF, "a text is one string"),
    "text_pair": ((None,), "a request is one text"),
    "pad_to_multiple_of": ((None, 1), "a batch is padded to its longest sequence"),
    "return_attention_mask": ((True, None), "a padded batch needs its mask"),
    "return_token_type_ids": (_OFF, "no language model here reads them"),
    "return_mm_token_type_ids": ((True, *_OFF), "they are there where the language model reads them"),
    "return_overflowing_tokens": (_OFF, "nothing is ever cut off"),
    "return_special_tokens_mask": (_OFF, "it is not made"),
    "return_offsets_mapping": (_OFF, "it is not made"),
    "return_length": (_OFF, "attention_mask.sum(1) has it"),
    "return_metadata": (_OFF, "batch['visuals'] has it"),
    "verbose": ((True, *_OFF), ""),
    "device": (("cpu", None), "move the batch with .to(device)"),
    "audio": ((None,), "no model here hears"),
    "images_kwargs": (({}, None), _SCALES),
    "videos_kwargs": (({}, None), f"{_SCALES}; frames are chosen with key_frames= and num_key_frames="),
    "audio_kwargs": (({}, None), "no model here hears"),
}
_NESTED = ("text_kwargs", "common_kwargs")


@dataclass(frozen=True)
class CallOptions:
    """What of the further arguments is to be checked when the batch is there.

    Attributes:
        pads: false: sequences of different lengths are refused.
        max_length: tokens of the longest sequence allowed, `None` for no further bound.
    """

    pads: bool = True
    max_length: int | None = None

    def check(self, lengths: list[int]) -> None:
        """Raises `ValueError` where sequences of these lengths in tokens are not what was asked for."""
        if not self.pads and len(set(lengths)) > 1:
            raise ValueError(
                f"padding=False: the sequences have {shown(lengths)} tokens; one tensor needs padding=True"
            )
        if self.max_length is not None and max(lengths, default=0) > self.max_length:
            raise ValueError(
                f"max_length={self.max_length}: the longest sequence has {max(lengths)} tokens, and nothing is ever "
                "cut off; shorten the text, use fewer frames or raise max_length"
            )


def read_options(options: dict[str, Any], others: Iterable[str]) -> CallOptions:
    """Checks the further keyword arguments of a call.

    Args:
        options: names and values.
        others: names of the arguments that the call has itself, for the nearest known one.

    Raises:
        TypeError: an unknown argument; the nearest known one is named.
        ValueError: a value that would change the batch.
    """
    flat = {name: value for name, value in options.items() if name not in _NESTED}
    for name in _NESTED:
        flat.update(options.get(name) or {})
    known = (*others, *_ACCEPTED, *_NESTED, "max_length")
    for name, value in flat.items():
        if name not in _ACCEPTED and name != "max_length":
            nearest = get_close_matches(name, known, 1, 0)
            raise TypeError(f"unknown argument {name}={shown(value)}; the nearest known one is {nearest[0]}")
        if name in _ACCEPTED and not any(value is one or _equal(value, one) for one in _ACCEPTED[name][0]):
            raise ValueError(f"{name}={shown(value)} can not be had: {_ACCEPTED[name][1]}")
    limit = flat.get("max_length")
    return CallOptions(
        flat.get("padding", True) not in (False, "do_not_pad"),
        None if limit is None else as_integer(limit, "max_length", 1),
    )


def _equal(value: Any, accepted: Any) -> bool:
    """Equality of plain values; a device is compared by its name, and 1 is not `True`."""
    if accepted == "cpu":
        return str(value) == "cpu"
    return (
        isinstance(value, (str, int, dict))
        and not isinstance(value, bool)
        and not isinstance(accepted, bool)
        and value == accepted
    )


__all__ = ["CallOptions", "read_options"]
