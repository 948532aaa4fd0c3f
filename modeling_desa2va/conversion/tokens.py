"""Control tokens: found in a tokenizer, or added to it with rows for them in the embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AddedToken, AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerBase, Qwen2Tokenizer

from .checkpoint import read_json_object

_CONFIG = "tokenizer_config.json"
SEG, IMAGE_CONTEXT = "[SEG]", "<IMG_CONTEXT>"
# Sa2VA's, in its order.
SEGMENTATION_TOKENS = (SEG, "<p>", "</p>", "<vp>", "</vp>")


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a published language model; remote code is not run.

    Raises:
        ValueError: a tokenizer class that is unknown here, or a damaged file.
    """
    kind = read_json_object(folder / _CONFIG).get("tokenizer_class")
    if kind in ("Qwen2Tokenizer", "Qwen2TokenizerFast"):
        return Qwen2Tokenizer.from_pretrained(folder)
    if kind in ("InternLM2Tokenizer", "InternLM2TokenizerFast"):
        return LlamaTokenizer.from_pretrained(folder, legacy=False)
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"{folder}: the tokenizer of class {kind!r} can not be read ({error})") from error


def single_token(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """The id of a control token.

    Raises:
        ValueError: the tokenizer has no such token, or spells it with several, which a vocabulary that lists it may
            do all the same.
    """
    ids = tokenizer.encode(text, add_special_tokens=False)
    pieces = tokenizer.convert_ids_to_tokens(ids)
    if pieces != [text]:
        where = f"{Path(tokenizer.name_or_path) / _CONFIG}: " if tokenizer.name_or_path else ""
        raise ValueError(f"{where}the tokenizer must have {text} as one token, it spells it {' '.join(pieces)}")
    return ids[0]


@dataclass
class NewRows:
    """Rows of an embedding, or of an output head, for tokens that a tokenizer got anew.

    Attributes:
        ids: of the tokens. rows: that the table has afterwards; not fewer than before.
    """

    ids: list[int]
    rows: int

    def __call__(self, table: torch.Tensor) -> torch.Tensor:
        """The table (rows, D) with a mean row, slightly moved, for each new token.

        The mean predicts new tokens as seldom as any other; equal rows would never be told apart. The rows that pad
        published tables were never trained, so they count neither as old tokens nor as rows for new ones.
        """
        first = min(self.ids, default=len(table))
        known = table[:first].float()
        mean, deviation = known.mean(0), known.std(0)
        grown = table.new_zeros(max(self.rows, len(table)), *table.shape[1:])
        grown[: len(table)] = table
        noise = torch.randn(len(self.ids), len(mean), generator=torch.Generator().manual_seed(0))
        grown[self.ids] = (mean + 0.1 * deviation * noise).to(table.dtype)
        return grown


def add_segmentation_tokens(tokenizer: PreTrainedTokenizerBase, rows: int) -> NewRows:
    """Gives a tokenizer `[SEG]` and its companions, those that it lacks, in place.

    Args:
        rows: of the embedding; published ones have more rows than tokens.
    """
    known = tokenizer.get_vocab()
    new = [token for token in SEGMENTATION_TOKENS if token not in known]
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=True) for token in new], special_tokens=True)
    ids = tokenizer.convert_tokens_to_ids(new)
    return NewRows(ids, max([rows, *(index + 1 for index in ids)]))


__all__ = [
    "IMAGE_CONTEXT",
    "SEG",
    "SEGMENTATION_TOKENS",
    "NewRows",
    "add_segmentation_tokens",
    "read_tokenizer",
    "single_token",
]
