"""The gallery: what was asked, what is true and what came back, of a few chosen samples.

Enters: a report, the kept answers beside it and the data folder; no model. Leaves: cases with their pictures as JPEG.
(Engineering; no paper section.)
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.questions import Answer, Question
from desa2va.eval.benchmarks.runner import Run, finished_run
from desa2va.processing.files import decode_mask, overlay_masks
from desa2va.training.data.record_media import read_frames

from .cases import choose_cases
from .opened import OpenedReport

FRAMES = 3  # shown of a video
LONGEST_SIDE = 420  # pixels of a frame as shown
DIMMED = 0.3  # what is left of the brightness outside of masks
Codes = Sequence[Sequence[dict | None]]


@dataclass(frozen=True)
class Panel:
    """One picture of a case; of a video several frames side by side.

    Attributes:
        title: what it shows. jpeg: the file. size: (width, height) in pixels.
    """

    title: str
    jpeg: bytes
    size: tuple[int, int]


@dataclass(frozen=True)
class Case:
    """One sample of a gallery.

    Attributes:
        group: `"best"`, `"median"` or `"worst"`. id: of the sample. score: by which it was chosen.
        request: what was said. answer: what was answered, in words. truth: the true answer in words, where there is.
        status, reason: as in `Answer`. panels: picture, truth and prediction.
    """

    group: str
    id: str
    score: float
    request: str
    answer: str
    truth: str
    status: str
    reason: str
    panels: tuple[Panel, ...]


def gallery(report: OpenedReport, data: Path, count: int) -> list[Case]:
    """The best, median and worst cases of a report.

    Args:
        report: with its answers in the folder of its file. data: the folder of all published sets.
        count: of each group.

    Raises:
        FileNotFoundError: no answers or no data. ValueError: of another run, other data or another version of them;
            or samples without a score.
    """
    if report.score is None:
        raise ValueError(f"{report.path}: its samples have no score of their own, so none is best or worst")
    places, scores = zip(*report.scores.items(), strict=True)
    chosen = {group: [places[k] for k in found] for group, found in choose_cases(scores, count).items()}
    wanted = {report.samples[place]["id"] for found in chosen.values() for place in found}
    answered = _answered(report, data, wanted)
    return [
        _case(group, report.scores[place], *answered[report.samples[place]["id"]])
        for group, found in chosen.items()
        for place in found
    ]


def _answered(report: OpenedReport, data: Path, wanted: set[str]) -> dict[str, tuple[Question, Answer]]:
    """Questions with their kept answers, by id."""
    _, plan, answers = finished_run(Run(open_benchmark(report.benchmark), data, report.path.parent))
    told = report.content["provenance"].get("data_sha256")
    if plan.data_sha256 != told:
        raise ValueError(f"{report.path}: its data have the hash {told}, those in {data} {plan.data_sha256}")
    found: dict[str, tuple[Question, Answer]] = {}
    for unit, questions in plan.all_questions():
        if wanted.isdisjoint(question.id for question in questions):
            continue
        if unit not in answers:
            raise ValueError(f"{report.path.parent}: no answer to sample {questions[0].id}, finish the run first")
        pairs = zip(questions, answers.read(unit, [question.id for question in questions])[0], strict=True)
        found |= {question.id: (question, answer) for question, answer in pairs if question.id in wanted}
    lost = sorted(wanted - found.keys())
    if lost:
        raise ValueError(f"{report.path}: its sample {lost[0]} is not among those of {data}")
    return found


def _case(group: str, score: float, question: Question, answer: Answer) -> Case:
    truth = question.dialogue.turns[0][1]
    return Case(
        group=group,
        id=question.id,
        score=score,
        request=question.prompt,
        answer=answer.text,
        truth="" if question.dialogue.targets and question.dialogue.kind != "gcg" else truth,
        status=answer.status,
        reason=answer.reason,
        panels=tuple(draw_panels(question, answer)),
    )


def draw_panels(question: Question, answer: Answer) -> list[Panel]:
    """Picture, truth and prediction of a sample; the picture alone where neither has a mask."""
    numbers = shown_frames(question)
    frames = [read_frames(question.record, [number])[0] for number in numbers]  # pictures may differ in size
    regions = [(code,) * question.record.num_frames for code in question.dialogue.regions]
    true = [target.codes for target in question.dialogue.targets]
    found = [entry.codes for entry in answer.objects]
    title = "picture" if len(numbers) == 1 else f"frames {', '.join(map(str, numbers))}"
    panels = [_panel(title, _drawn(frames, regions, numbers) if regions else frames)]
    if true or found:
        panels.append(_panel("truth", _drawn(frames, true, numbers)))
        panels.append(_panel("prediction", _drawn(frames, found, numbers)))
    return panels


def shown_frames(question: Question) -> list[int]:
    """Numbers of the frames to show, spread over those that show the target, or over all where none does."""
    masks = [target.codes for target in question.dialogue.targets]
    seen = [t for t in range(question.record.num_frames) if any(codes[t] is not None for codes in masks)]
    seen = seen or list(range(question.record.num_frames))
    count = min(FRAMES, len(seen))
    return [seen[(2 * place + 1) * len(seen) // (2 * count)] for place in range(count)]


def _drawn(frames: Sequence[np.ndarray], tracks: Codes, numbers: Sequence[int]) -> list[np.ndarray]:
    """Frames with the masks of all tracks that are there on them: outlined, the rest dimmed.

    A colour laid over an object of that colour would not be seen.
    """
    drawn = []
    for frame, number in zip(frames, numbers, strict=True):
        there = [(place, codes[number]) for place, codes in enumerate(tracks) if codes[number] is not None]
        masks = [decode_mask(code) for _, code in there]
        inside = np.any(masks, axis=0)[..., None] if masks else np.zeros((*frame.shape[:2], 1), bool)
        dimmed = np.where(inside, frame, (DIMMED * frame).astype(np.uint8))
        drawn.append(overlay_masks(dimmed, masks, opacity=0.1, object_ids=[place for place, _ in there]))
    return drawn


def _panel(title: str, frames: Sequence[np.ndarray]) -> Panel:
    """Frames side by side as one JPEG."""
    shown = [Image.fromarray(frame) for frame in frames]
    side = LONGEST_SIDE if len(shown) == 1 else LONGEST_SIDE // 2
    for image in shown:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    strip = Image.new("RGB", (sum(image.width for image in shown), max(image.height for image in shown)))
    left = 0
    for image in shown:
        strip.paste(image, (left, 0))
        left += image.width
    file = io.BytesIO()
    strip.save(file, "JPEG", quality=85)
    return Panel(title, file.getvalue(), strip.size)


__all__ = ["Case", "Panel", "draw_panels", "gallery", "shown_frames"]
