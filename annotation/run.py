"""One run: masklets are described step by step, finished answers kept, and a killed run goes on where it was.

Enters: sources, prompts, describers. Leaves: a folder of answers. Several processes share the units; what a process
asks together does not depend on what was finished before, so that a resumed run gets the answers of an undisturbed
one. (Sa2VA, section 3.3.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from desa2va.eval.benchmarks.processes import Processes

from .asks import Ask, Describer, Unanswered
from .masklets import Clip, Masklet, Source, read_clip
from .prompts import Prompt
from .stages import STEPS, frames_of, judged, make_ask
from .store import Answers, AnswersWriter, Said

_TEXT_STEPS = ("check", "short")  # no pictures: the checker's


@dataclass(frozen=True)
class Run:
    """What is described by whom.

    Attributes:
        sources: the videos, in their order. prompts: by step. describer: of pictures. checker: of texts alone.
        batch_size: asks at a time, and videos of a unit of work. folder: of the answers; exists.
    """

    sources: Sequence[Source]
    prompts: Mapping[str, Prompt]
    describer: Describer
    checker: Describer
    batch_size: int
    folder: Path

    def who(self, step: str) -> Describer:
        """Who answers a step."""
        return self.checker if step in _TEXT_STEPS else self.describer

    @property
    def identity(self) -> dict[str, Any]:
        """What two runs have to share to be one."""
        listing = json.dumps([source.identity for source in self.sources]).encode()
        return {
            "masklets": hashlib.sha256(listing).hexdigest(),
            "batch_size": self.batch_size,
            "prompts": {step: prompt.identity for step, prompt in self.prompts.items()},
            "describer": self.describer.identity,
            "checker": self.checker.identity,
        }

    def answers(self) -> Answers:
        """What there is so far.

        Raises:
            ValueError: see `Answers`.
        """
        return Answers(self.folder, self.identity)

    @property
    def units(self) -> list[Sequence[Source]]:
        """Sources that are worked on together."""
        return [self.sources[k : k + self.batch_size] for k in range(0, len(self.sources), self.batch_size)]


@dataclass
class Outcome:
    """What a process did.

    Attributes:
        asked: number of asks that were answered. unanswered: masklets that wait for a later run, with the reason.
    """

    asked: int = 0
    unanswered: dict[tuple[str, str], str] = field(default_factory=dict)


def describe_all(
    run: Run, processes: Processes | None = None, answers: Answers | None = None, outcome: Outcome | None = None
) -> Outcome:
    """Asks whatever has no answer yet, of the units of this process.

    Args:
        run: what is asked. processes: this one among all. answers: those that are there; read by default.
        outcome: filled, also where an error ends the work.

    Raises:
        OSError: nobody answers any more, the budget is spent, or the disk is full; what is finished is kept.
        BlockingIOError: another process works on the same folder.
    """
    processes = processes or Processes()
    answers = answers or run.answers()
    outcome = Outcome() if outcome is None else outcome
    units = run.units
    own = [units[number] for number in processes.units(len(units))]
    with AnswersWriter(answers, processes.rank) as writer:
        for unit in tqdm(own, desc="describing", unit="batch", disable=None if processes.rank == 0 else True):
            clips = [read_clip(source) for source in unit]
            pairs = [(clip, masklet) for clip in clips for masklet in clip.masklets]
            for step in STEPS:
                waiting = [pair for pair in pairs if answers.next_step(pair[1].key) == step]
                for start in range(0, len(waiting), run.batch_size):
                    _ask(run, step, waiting[start : start + run.batch_size], writer, outcome)
    return outcome


def _ask(run: Run, step: str, pairs: Sequence[tuple[Clip, Masklet]], writer: AnswersWriter, outcome: Outcome) -> None:
    """One batch of one step; what has an answer is written as soon as it has."""
    asks: list[Ask] = []
    asked: list[tuple[Clip, Masklet]] = []
    unreadable: list[Said] = []
    for clip, masklet in pairs:
        try:
            asks.append(make_ask(step, run.prompts[step], clip.record, masklet, writer.answers.texts(masklet.key)))
            asked.append((clip, masklet))
        except (ValueError, OSError) as error:
            unreadable.append(_said(step, clip, masklet, "", f"a frame can not be read: {error}"))
    if unreadable and not asks:
        writer.write(step, unreadable, (0, 0))
    who = run.who(step)
    for group in who.answers(asks) if asks else ():
        said = []
        for place, answer in sorted(group.items()):
            clip, masklet = asked[place]
            if isinstance(answer, Unanswered):
                outcome.unanswered[masklet.key] = f"{step}: {answer.reason}"
            else:
                said.append(_said(step, clip, masklet, *judged(step, answer)))
        outcome.asked += len(said)
        if said or unreadable:  # in one line with the batch, which is then whole or not there
            writer.write(step, [*unreadable, *said], who.spent())
            unreadable = []


def _said(step: str, clip: Clip, masklet: Masklet, text: str, dropped: str | None) -> Said:
    frames = [frame * clip.record.stride for frame in frames_of(step, masklet)]
    return Said(masklet.video, masklet.number, text, frames, dropped)


__all__ = ["Outcome", "Run", "describe_all"]
