"""One row per masklet: what became of it, its expressions, and where every word comes from.

Enters: a clip, the answers, decisions of a review. Leaves: plain values, the same in every run of the same answers.
(Engineering; no paper section.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desa2va.processing.files import mask_area, parse_json

from .masklets import Clip, Masklet, Source
from .run import Run
from .stages import LAST_NEEDED
from .store import Answers

REVIEW_FORMAT = "desa2va review 1"
VERDICTS = ("accept", "edit", "reject")
Key = tuple[str, str]


@dataclass(frozen=True)
class Decision:
    """What a person said of a masklet's expressions; `long` and `short` are the edited ones."""

    verdict: str
    long: str = ""
    short: str = ""


def read_decisions(path: Path) -> dict[Key, Decision]:
    """A file that the review page wrote, by masklet.

    Raises:
        FileNotFoundError: no such file. ValueError: of another shape; the entry is named.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of decisions {path}; the page review.html writes it")
    content = parse_json(path.read_bytes(), str(path))
    entries = content.get("decisions") if isinstance(content, dict) else None
    if not isinstance(entries, list) or content.get("format") != REVIEW_FORMAT:
        raise ValueError(f"{path} is no file of {REVIEW_FORMAT!r}, which review.html writes")
    decisions = {}
    for number, entry in enumerate(entries):
        fields = [entry.get(name, "") if isinstance(entry, dict) else None for name in _FIELDS]
        if not all(isinstance(value, str) for value in fields) or fields[2] not in VERDICTS:
            raise ValueError(f"{path}, decision {number}: needs video, object and one of {', '.join(VERDICTS)}")
        video, number_, verdict, long, short = (" ".join(value.split()) for value in fields)
        if verdict == "edit" and not long:
            raise ValueError(f"{path}, decision {number}: an edited description must not be empty; reject it instead")
        decisions[video, number_] = Decision(verdict, long, short)
    return decisions


_FIELDS = ("video", "object", "verdict", "long", "short")


def clip_rows(run: Run, answers: Answers, clip: Clip, decisions: Mapping[Key, Decision]) -> list[dict[str, Any]]:
    """The rows of a video: of its masklets, then of what was skipped."""
    rows = [_row(run, answers, clip, masklet, decisions.get(masklet.key)) for masklet in clip.masklets]
    return rows + [
        {"video": clip.source.name, "object": number, "status": "skipped", "reason": reason}
        for number, reason in clip.skipped.items()
    ]


def _row(run: Run, answers: Answers, clip: Clip, masklet: Masklet, decision: Decision | None) -> dict[str, Any]:
    dropped, texts = answers.dropped(masklet.key), answers.texts(masklet.key)
    row: dict[str, Any] = {"video": masklet.video, "object": masklet.number, "status": "complete"}
    if dropped is not None:
        row |= {"status": "dropped", "reason": dropped}
    elif answers.next_step(masklet.key) is not None:
        row |= {"status": "unanswered", "reason": f"{answers.next_step(masklet.key)}: no answer yet"}
    elif decision is not None and decision.verdict == "reject":
        row |= {"status": "dropped", "reason": "review: rejected"}
    else:
        row |= {"split_key": split_key(clip.source), "masks": _num_masks(masklet)}
        row |= {"long": texts[LAST_NEEDED], "short": texts.get("short")}
        if decision is not None:
            row["review"] = decision.verdict
        if decision is not None and decision.verdict == "edit":
            row |= {"long": decision.long, "short": decision.short or None}
    row["steps"] = [
        {
            "step": step,
            "model": run.who(step).identity["name"],
            "prompt": run.prompts[step].identity,
            "frames": said.frames,
            "text": said.text,
            **({"dropped": said.dropped} if said.dropped else {}),
        }
        for step, said in answers.of(masklet.key).items()
    ]
    return row


def _num_masks(masklet: Masklet) -> int:
    return sum(1 for code in masklet.codes if code is not None and mask_area(code))


def split_key(source: Source) -> str:
    """What two mask files of one video share: the video's own name."""
    video = source.video
    return source.name if video is None else video.stem if video.is_file() else video.name


def is_validation(key: str, share: float) -> bool:
    """Whether a video is kept for validation: told by its name alone, so it stays there when others are added."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32 < share


def row_line(row: Mapping[str, Any]) -> str:
    """A row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


__all__ = [
    "REVIEW_FORMAT",
    "VERDICTS",
    "Decision",
    "clip_rows",
    "is_validation",
    "read_decisions",
    "row_line",
    "split_key",
]
