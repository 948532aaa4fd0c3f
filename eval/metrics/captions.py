"""Captions against references: METEOR, CIDEr, BLEU and ROUGE-L of COCO's caption tools.

Texts enter, corpus figures and one value per item leave (paper section 4.1: region captions of RefCOCOg, grounded
conversations). pycocoevalcap does the work, over its PTB tokeniser; both the tokeniser and METEOR are Java programs.

Two conventions to know: CIDEr weighs words by the references *of this run*, so a subset scores otherwise; the corpus
METEOR is aggregated inside its program, it is not the mean of the items.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence

from .collected import Collected, require_unique

_REGION_WORDS = (
    *("region1", "Region1", "The region marked by", "The region marked as", "The region marked"),
    *("is", "shows", ":"),
)


class CaptionQuality(Collected):
    """Collects captions and computes their figures. Items are scored in the order of their ids, whoever added them."""

    def add(self, identifier: str | int, prediction: str, references: Sequence[str]) -> None:
        """Add one item.

        Args:
            identifier: unlike all others.
            prediction: one caption; may be empty.
            references: at least one.

        Raises:
            ValueError: no reference.
        """
        references = [references] if isinstance(references, str) else list(references)
        if not references:
            raise ValueError(f"item {identifier!r} has no reference; one at least is needed")
        self.rows.append((identifier, prediction, references))

    def compute(self) -> dict[str, float | int]:
        """The corpus figures: `n`, `meteor`, `cider`, `bleu_1` to `bleu_4`, `rouge_l`.

        Raises:
            ValueError: no item was added, or two have one id.
            RuntimeError: there is no Java. ImportError: there is no pycocoevalcap.
        """
        return self.compute_with_items()[0]

    def compute_with_items(self) -> tuple[dict[str, float | int], dict[str | int, dict[str, float]]]:
        """As `compute`, and `meteor`, `cider` and `rouge_l` of every item by its id."""
        identifiers, predictions, references = self.columns()
        require_unique("item", identifiers)
        found, real = (dict(zip(identifiers, texts, strict=True)) for texts in (predictions, references))
        ordered = sorted(found, key=str)
        scored = _score([[found[name]] for name in ordered], [real[name] for name in ordered])
        figures = {"n": len(ordered), **{name: float(total) for name, (total, _) in scored.items()}}
        each = {name: [float(value) for value in values] for name, (_, values) in scored.items() if len(values)}
        return figures, {key: {name: each[name][i] for name in each} for i, key in enumerate(ordered)}


def _score(predictions: list[list[str]], references: list[list[str]]) -> dict[str, tuple[float, Sequence[float]]]:
    """Every figure over the corpus and of each item (none for BLEU)."""
    if shutil.which("java") is None:
        raise RuntimeError("METEOR and the tokeniser of captions need a Java runtime; install one (java on PATH)")
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.meteor.meteor import Meteor
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError as error:
        raise ImportError("captions are scored with pycocoevalcap: pip install 'desa2va[eval]'") from error
    found, real = _tokenized(predictions), _tokenized(references)
    totals, _ = Bleu(4).compute_score(real, found, verbose=0)
    figures: dict[str, tuple[float, Sequence[float]]] = {
        "meteor": Meteor().compute_score(real, found),
        "cider": Cider().compute_score(real, found),
    }
    figures |= {f"bleu_{n}": (total, ()) for n, total in enumerate(totals, start=1)}
    return {**figures, "rouge_l": Rouge().compute_score(real, found)}


def _tokenized(texts: list[list[str]]) -> dict[int, list[str]]:
    """Texts by number, through the PTB tokeniser.

    It reads a line per text and drops empty ones at the end, so white space is made blanks and an empty text becomes a
    full stop, which the tokeniser's list of punctuation removes again.
    """
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    lines = {i: [{"caption": " ".join(text.split()) or "."} for text in some] for i, some in enumerate(texts)}
    return PTBTokenizer().tokenize(lines)


def without_region_words(answer: str) -> str:
    """A region's answer as Sa2VA's evaluator of region captions cleans it before scoring.

    It deletes phrases such as "The region marked by", colons, and "is" and "shows" even inside words ("this" becomes
    "th"), then tags, `[SEG]`, surplus blanks and quotes. For comparison with its figures only.
    """
    answer = answer.replace("<s>", "").replace("\n", "")
    for words in _REGION_WORDS:
        answer = answer.replace(words, "")
    answer = re.sub(r"<.*?>", "", answer).replace("[SEG]", "")
    return " ".join(answer.split()).strip("'").strip()


__all__ = ["CaptionQuality", "without_region_words"]
