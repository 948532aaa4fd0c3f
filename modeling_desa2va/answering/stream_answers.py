"""What was said to the requests of a stream, and what became of it so far.

Enters: the language pass on key frames, then results frame by frame. Leaves: `StreamAnswer`s, whose status follows the
frames that were handed over, and the labels of all objects (METHOD section 6).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from desa2va.modeling_desa2va.outputs import KeyFrameAnswer
from desa2va.processing.inputs import WORD_TASKS
from desa2va.processing.results import FORCED, FrameResult, ObjectLabel, ParsedAnswer, highest, words_alone

_REASONS = {
    "waiting": "the request is asked on the next frame",
    "withdrawn": "the request was withdrawn",
    "ok": "",
    "no_seg_token": "the answer holds no [SEG]; the model marked no object",
    "no_target": "its objects are judged absent on every frame so far",
    "empty_mask": "an object is judged present, but no mask has a pixel so far",
}


@dataclass
class StreamAnswer(ParsedAnswer):
    """What was said to one sentence, and what became of it so far.

    Attributes:
        number: of the sentence, from 0. request: the sentence itself. task: how it is asked.
        text, raw_text, spans: the answer, see `ParsedAnswer`.
        objects: numbers of its objects in the stream. seen: statuses its objects had on the frames so far.
        forced: the model preferred not to mark anything; see `ObjectResult`.
        since: first frame of a request that joined the stream, `None` until it comes; 0 of the others.
        withdrawn: the request has left the stream.
        target_score: of a calibrated model; see `SegmentationResult`. target_threshold: of the frames so far, below
            which the request counts as having no target.
        status: `"waiting"`: not asked yet; `"withdrawn"`; `"no_seg_token"`: the answer marks no object;
            `"no_target"`: its objects are judged absent on every frame so far; `"empty_mask"`: judged present, but
            without a pixel so far; `"ok"`.
        reason: why the status is not `"ok"`, and that the objects were forced; empty otherwise.
    """

    number: int = 0
    objects: list[int] = field(default_factory=list)
    seen: set[str] = field(default_factory=set, repr=False)
    forced: bool = False
    since: int | None = 0
    withdrawn: bool = False
    target_score: float | None = None
    target_threshold: float = 0.0

    @property
    def status(self) -> str:
        """See above."""
        if self.withdrawn or self.since is None:
            return "withdrawn" if self.withdrawn else "waiting"
        if not self.objects:
            return "no_seg_token"
        return next((status for status in ("ok", "empty_mask") if status in self.seen), "no_target")

    @property
    def reason(self) -> str:
        """See above."""
        reason = _REASONS[self.status]
        if self.status == "no_seg_token" and self.task in WORD_TASKS:
            reason = words_alone(self.task)
        if self.status == "no_target" and self.target_score is not None and self.target_score < self.target_threshold:
            reason = f"its target score {self.target_score:.3f} is below the threshold {self.target_threshold:.3f}"
        return "; ".join(part for part in (reason, FORCED if self.forced else "") if part)

    def take(self, said: StreamAnswer, since: int) -> None:
        """Takes over what was said on frame `since`."""
        self.text, self.raw_text, self.spans = said.text, said.raw_text, said.spans
        self.objects, self.forced, self.since = said.objects, said.forced, since
        self.target_score = said.target_score

    def update(self, result: FrameResult) -> None:
        """Takes one more frame into account."""
        self.seen |= {entry.status for entry in result.objects if entry.request == self.number}
        self.target_threshold = result.options.target_threshold


def read_answers(
    answer: KeyFrameAnswer,
    requests: list[tuple[str, str]],
    processor: Any,
    first_number: int = 0,
    first_object: int = 0,
) -> tuple[list[StreamAnswer], list[ObjectLabel]]:
    """What was said to each request, a sentence and its task, and the labels of all objects.

    Both are numbered from `first_number` and `first_object`.
    """
    parser = processor.answer_parser
    parsed = [parser.parse(row, *asked) for row, asked in zip(answer.sequences.tolist(), requests, strict=True)]
    answers = [StreamAnswer(**vars(said), number=number) for number, said in enumerate(parsed, first_number)]
    if answer.target_score is not None:
        for said, score in zip(answers, answer.target_score.tolist(), strict=True):
            said.target_score = score
    labels = []
    columns = answer.object_sequence.tolist(), answer.seg_probability.tolist(), answer.seg_forced.tolist()
    agreement = [None] * len(answer.object_sequence) if answer.agreement is None else answer.agreement
    columns = *columns, [highest(values) for values in agreement]
    for number, (sequence, probability, forced, agreed) in enumerate(zip(*columns, strict=True), first_object):
        said = answers[sequence]
        phrase = said.phrase(len(said.objects))
        labels.append(ObjectLabel(number, phrase, said.number, probability, forced, said.target_score, agreed))
        said.objects.append(number)
        said.forced |= forced
    return answers, labels


__all__ = ["StreamAnswer", "read_answers"]
