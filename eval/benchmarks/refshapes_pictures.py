"""RefShapes' pictures as one more benchmark of the runner: drawn, not read, so `--data` is not looked at.

Enters: the name `refshapes-<level>-<split>`. Leaves: what it asks and how it scores: the 1,000 scenes of seed 0, one
expression each, that `desa2va eval refshapes` asks about, with answers that are kept. (The paper names no such set.)
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from desa2va.eval.metrics.referring import ReferringSegmentation
from desa2va.eval.refshapes_samples import draw_expressions
from desa2va.processing.files import encode_mask
from desa2va.training.data.records import Dialogue, Record, Target
from desa2va.training.data.refshapes import PICTURE_KINDS, VERSION, Expression, RefShapes
from desa2va.training.data.sample import Conversation, Sample

from .questions import Answer, Benchmark, Question
from .referring_pictures import PictureScores

SCENES = 1000
_SPOKEN = 6  # expressions about one scene where it is described from several sides
_SEED = 0


class KindScores:
    """cIoU, gIoU and Precision@t over all samples, and by kind of expression."""

    def __init__(self) -> None:
        self.overall = PictureScores()
        self.kinds: dict[str, ReferringSegmentation] = {}

    def add(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Score one sample: its `kind`, and what `PictureScores` tells."""
        values = self.overall.add(question, answer)
        kind = str(question.dialogue.ids["kind"])
        metric = self.kinds.setdefault(kind, ReferringSegmentation())
        metric.add_counts(values["intersection"], values["union"])
        return {"kind": kind, **values}

    def figures(self) -> dict[str, Any]:
        """Those of `ReferringSegmentation`, `overall` and by kind."""
        return {"overall": self.overall.figures(), **{kind: self.kinds[kind].compute() for kind in sorted(self.kinds)}}


class DrawnBenchmark(Benchmark):
    """A benchmark whose records are drawn; its data set is `refshapes-<level>`."""

    @property
    def dataset(self) -> str:
        """With its level."""
        return self.name.rpartition("-")[0]

    @property
    def level(self) -> str:
        """As in `RefShapes`."""
        return self.dataset.partition("-")[2]

    def records(self, root: Path) -> Sequence[Record]:
        """The scenes of `desa2va eval refshapes`, with PNGs in place of files."""
        drawn = draw_expressions(self.split, self.level, _SEED, PICTURE_KINDS[self.level], SCENES)
        return [drawn_record(sample, (expression,)) for sample, expression in drawn]

    def described(self, root: Path) -> Sequence[Record]:
        """Other scenes, each described from several sides; drawn when they are asked for."""
        return _Scenes(RefShapes(self.split, self.level, seed=_SEED + 1, length=SCENES, conversations=_SPOKEN))


class _Scenes(Sequence):
    """Records of a `RefShapes`."""

    def __init__(self, data: RefShapes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Record:
        return drawn_record(*self._data.with_expressions(index))

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))


def drawn_record(sample: Sample, expressions: Sequence[Expression]) -> Record:
    """A picture that was drawn, and what is said about it, as a record whose file is a PNG in memory."""
    file = io.BytesIO()
    Image.fromarray(sample.frames[0]).save(file, format="PNG")
    place = sample.name.rpartition("/")[2]
    pairs = enumerate(zip(sample.conversations, expressions, strict=True))
    return Record(
        name=place,
        paths=(f"{place}.png",),
        is_video=False,
        size=sample.frames.shape[1:3],
        num_frames=1,
        dialogues=tuple(_dialogue(place, number, *pair) for number, pair in pairs),
        source=f"RefShapes {VERSION}, {sample.name}",
        media=(file.getvalue(),),
    )


def _dialogue(scene: str, number: int, conversation: Conversation, expression: Expression) -> Dialogue:
    """All objects of an answer are scored as one mask, but stay apart here."""
    pairs = zip(conversation.labels, conversation.masks[:, 0], strict=True)
    targets = tuple(Target(label, (encode_mask(mask),)) for label, mask in pairs)
    ids = {"scene": scene, "number": number, "text": expression.text, "kind": conversation.kind}
    return Dialogue(conversation.kind, conversation.turns, targets, ids=ids)


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name."""
    return DrawnBenchmark(
        name=name,
        protocol=f"{SCENES} scenes of seed {_SEED}, one expression each, exact shares of kinds; masks are united",
        id_names=("scene",),
        wording="one of RefShapes' six wordings, drawn with the expression",
        scores=lambda root: KindScores(),
    )


__all__ = ["SCENES", "DrawnBenchmark", "KindScores", "benchmark", "drawn_record"]
