"""Robustness: what must not change an answer, and what must.

Enters: another benchmark's name, of whose records everything is asked about the first thing with a target, in many
ways. Leaves: what it asks and how it scores. (Engineering; the paper measures none of it.) The variants of a sample:

* `plain`, `wording1`.. : the same expression in the words of `WORDINGS`; `sentence1`..: other expressions of the set
  for the same target. One request, said otherwise: the masks should agree.
* `jpeg60`.., `darker`, `brighter`: the picture (every frame) as JPEG of that quality, or 5 % darker or brighter.
* `other_words`, and `point`, `box`, `mask` with their `other_` ones: the prompt means another target of the same
  picture, or, where there is none, a click meets the target mirrored and the words are those of the next record. The
  masks should differ.
* `wide`, `tall`: the box of the target on a picture of 8:1 or 1:8, through the processor and back; no model is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from desa2va.processing.files import encode_mask
from desa2va.training.data.records import SINGLE_ANSWER, Code, Dialogue, Record, Target

from .names import open_benchmark
from .questions import Benchmark
from .robust_answers import CLICKS, RECODINGS, SHAPES, RobustAnswerer
from .robust_scores import RobustnessScores, overlap_of

WORDINGS = ("Please segment {}.", "segment {}", "Find {}.", "Can you segment {}?")
MOST_SENTENCES = 4
_DIFFERENT = 0.5  # two targets, or a target and its mirror image, are apart below this IoU


class VariantRecords(Sequence):
    """The records of a benchmark with the variants of one sample each; made when they are asked for.

    Args:
        base: records of the benchmark; those without a target are left out.
    """

    def __init__(self, base: Sequence[Record]) -> None:
        self._base = base
        self._places: list[int] = []  # in the base, of the records found so far
        self._searched = 0

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Record]:
        number = 0
        while True:
            try:
                yield self[number]
            except IndexError:
                return
            number += 1

    def __getitem__(self, index: int) -> Record:
        while len(self._places) <= index:
            if self._searched >= len(self._base):
                raise IndexError(index)
            if _meant(self._base[self._searched]):
                self._places.append(self._searched)
            self._searched += 1
        place = self._places[index]
        return with_variants(self._base[place], self._base[(place + 1) % len(self._base)])


def with_variants(record: Record, following: Record) -> Record:
    """The record with the variants of its first dialogue that has a target; `following` lends its words."""
    first, *others = _meant(record)
    truth = _mask_of(record, first)
    apart = next((one for one in others if overlap_of(_mask_of(record, one), truth) < _DIFFERENT), None)
    elsewhere = _mirrored(truth) if apart is None else _mask_of(record, apart)
    words = WORDINGS[0].format(first.ids["text"]) if "text" in first.ids else first.turns[0][0]
    asked = {"plain": words}
    if "text" in first.ids:
        asked |= {f"wording{place}": form.format(first.ids["text"]) for place, form in enumerate(WORDINGS[1:], 1)}
    same = [one for one in others if _codes(one) == _codes(first) and _words(one) != words]
    asked |= {f"sentence{place}": _words(one) for place, one in enumerate(same[:MOST_SENTENCES], 1)}
    asked |= dict.fromkeys((*RECODINGS, *CLICKS, *SHAPES), words)
    said = [(name, text, truth) for name, text in asked.items()]
    foreign = _words(apart or following.dialogues[0])
    if foreign != words:
        said.append(("other_words", foreign, truth if apart is None else elsewhere))
    if elsewhere is not None:
        said += [(f"other_{click}", words, elsewhere) for click in CLICKS]
    return replace(record, dialogues=tuple(_variant(record.name, *entry) for entry in said))


def _variant(sample: str, name: str, words: str, mask: np.ndarray) -> Dialogue:
    target = Target(name, tuple(encode_mask(frame) if frame.any() else None for frame in mask))
    return Dialogue(name, ((words, SINGLE_ANSWER),), (target,), ids={"sample": sample, "variant": name})


def _meant(record: Record) -> list[Dialogue]:
    """The dialogues that one of the record's pixels is meant by."""
    return [one for one in record.dialogues if any(not target.is_empty for target in one.targets)]


def _words(dialogue: Dialogue) -> str:
    return WORDINGS[0].format(dialogue.ids["text"]) if "text" in dialogue.ids else dialogue.turns[0][0]


def _codes(dialogue: Dialogue) -> list[tuple[Code | None, ...]]:
    """What is meant, whatever it is called."""
    return [target.codes for target in dialogue.targets]


def _mask_of(record: Record, dialogue: Dialogue) -> np.ndarray:
    """Bool `(T, H, W)`: all that is meant."""
    return record.masks(dialogue).any(axis=0)


def _mirrored(mask: np.ndarray) -> np.ndarray | None:
    """The mask from left to right or upside down, whichever is apart from it; `None` where neither is."""
    flipped = (np.flip(mask, axis) for axis in (2, 1))
    return next((other for other in flipped if overlap_of(other, mask) < _DIFFERENT), None)


class RobustnessBenchmark(Benchmark):
    """The variants of another benchmark, whose name follows `robustness-`."""

    def records(self, root: Path) -> VariantRecords:
        """One record per sample."""
        return VariantRecords(open_benchmark(self.name.partition("-")[2]).described(root))


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name, `robustness-<benchmark>`.

    Raises:
        ValueError: the truth of the other benchmark is not public, or has no masks.
    """
    base = open_benchmark(name.partition("-")[2])
    if base.scores is None:
        raise ValueError(f"robustness needs the truth, which is not public for {base.name}")
    if not base.masks:
        raise ValueError(f"robustness is about masks; {base.name} scores words alone")
    return RobustnessBenchmark(
        name=name,
        protocol="one target of every picture or video: masks of several wordings agree (mean pairwise IoU), writing "
        "anew flips no status, another prompt moves the mask (1 - IoU), boxes come back on 8:1 pictures",
        id_names=("sample", "variant"),
        wording=" | ".join(WORDINGS),
        scores=lambda root: RobustnessScores(),
        whole_records=True,
        asks=RobustAnswerer,
    )


__all__ = ["WORDINGS", "RobustnessBenchmark", "VariantRecords", "benchmark", "with_variants"]
