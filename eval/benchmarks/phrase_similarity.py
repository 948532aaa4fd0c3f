"""How alike two phrases are: the cosine of BERT's mean-pooled last states, as GLaMM's evaluator measures it.

Enters: two texts. Leaves: a number in [-1, 1]. (Engineering; recall of grounded conversation, paper section 4.1.)
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

BERT = "bert-base-uncased"


class PhraseSimilarity:
    """Similarity of phrases by a text encoder; every phrase is encoded once.

    Args:
        name: folder or Hub id of the encoder.

    Raises:
        FileNotFoundError: it is not to be had.
    """

    def __init__(self, name: str = BERT) -> None:
        from transformers import AutoModel, AutoTokenizer

        try:
            self._tokenizer, self._model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name).eval()
        except OSError as error:
            raise FileNotFoundError(
                f"recall compares phrases with the text encoder {name}, which can not be loaded; put it into the "
                f"Hub's cache with `hf download {name}`"
            ) from error
        self._known: dict[str, torch.Tensor] = {}

    def __call__(self, one: str, other: str) -> float:
        """The cosine of two phrases."""
        return float(F.cosine_similarity(self._state(one), self._state(other), dim=0))

    @torch.no_grad()
    def _state(self, text: str) -> torch.Tensor:
        if text not in self._known:
            inputs = self._tokenizer(text, return_tensors="pt", truncation=True)
            self._known[text] = self._model(**inputs).last_hidden_state[0].mean(dim=0)
        return self._known[text]


__all__ = ["BERT", "PhraseSimilarity"]
