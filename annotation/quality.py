"""What the data set is like: rates of every step, a table like Sa2VA's table 4, lengths, words, duplicates.

Rows of masklets enter, plain values for the report leave. (Sa2VA, table 4.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median
from typing import Any

from .duplicates import duplicates, words_of
from .rows import is_validation
from .stages import STEPS

KINDS = ("long", "short")
_MOST = 30


def quality_report(rows: Sequence[Mapping[str, Any]], share: float) -> dict[str, Any]:
    """All figures.

    Args:
        rows: of all masklets. share: of the videos that are kept for validation.
    """
    complete = [row for row in rows if row["status"] == "complete"]
    validation = [is_validation(row["split_key"], share) for row in complete]
    parts = {
        "train": [row for row, held in zip(complete, validation, strict=True) if not held],
        "validation": [row for row, held in zip(complete, validation, strict=True) if held],
        "all": complete,
    }
    return {
        "masklets": dict(sorted(Counter(row["status"] for row in rows).items())),
        "table": {name: _table(part) for name, part in parts.items()},
        "steps": _steps(rows),
        "reasons": {
            status: _reasons(row["reason"] for row in rows if row["status"] == status)
            for status in ("skipped", "dropped", "unanswered")
        },
        "expressions": {kind: _lengths([row[kind] for row in complete if row[kind]]) for kind in KINDS},
        "duplicates": {kind: duplicates(complete, kind) for kind in KINDS},
        "reviewed": dict(sorted(Counter(row["review"] for row in complete if "review" in row).items())),
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row of Sa2VA's table 4; short expressions are counted beside it, since Ref-SAV's table has the long ones."""
    lengths = [len(row["long"].split()) for row in rows]
    return {
        "videos": len({row["split_key"] for row in rows}),
        "objects": len(rows),
        "expressions": len(rows),
        "short_expressions": sum(1 for row in rows if row["short"]),
        "masks": sum(row["masks"] for row in rows),
        "mean_length": round(mean(lengths), 2) if lengths else None,
    }


def _steps(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of every step how many answers there are, how many went on, and why the others did not."""
    found = {}
    for step in STEPS:
        said = [entry for row in rows for entry in row.get("steps", ()) if entry["step"] == step]
        dropped = [entry["dropped"] for entry in said if "dropped" in entry]
        rate = round(1 - len(dropped) / len(said), 4) if said else None
        found[step] = {"answers": len(said), "kept": rate, "dropped": _reasons(dropped)}
    return found


def _reasons(reasons: Iterable[str]) -> dict[str, int]:
    """Counts by what stands before the first comma; the names of steps are kept."""
    return dict(Counter(re.split(r"[,:] ", _after_step(reason))[0] for reason in reasons).most_common())


def _after_step(reason: str) -> str:
    step, _, rest = reason.partition(": ")
    return f"{step} {rest}" if step in (*STEPS, "review") else reason


def _lengths(texts: Sequence[str]) -> dict[str, Any]:
    """Words per expression, and which words there are."""
    lengths = [len(text.split()) for text in texts]
    words = Counter(word for text in texts for word in words_of(text))
    if not texts:
        return {"count": 0}
    return {
        "count": len(texts),
        "words": {
            "mean": round(mean(lengths), 2),
            "median": median(lengths),
            "least": min(lengths),
            "most": max(lengths),
        },
        "different_words": len(words),
        "most_common_words": dict(words.most_common(_MOST)),
    }


def summarise(report: Mapping[str, Any]) -> str:
    """The table and the rates as lines of text."""
    names = ("videos", "objects", "expressions", "short_expressions", "masks", "mean_length")
    lines = [f"{'':12}" + "".join(f"{name.replace('_', ' '):>19}" for name in names)]
    for part, figures in report["table"].items():
        shown = ("-" if figures[name] is None else str(figures[name]) for name in names)
        lines.append(f"{part:12}" + "".join(f"{value:>19}" for value in shown))
    lines.append("masklets: " + ", ".join(f"{count} {status}" for status, count in report["masklets"].items()))
    kept = [f"{step} {entry['kept']:.1%}" for step, entry in report["steps"].items() if entry["answers"]]
    lines.append("kept: " + (", ".join(kept) or "nothing was answered"))
    alike = [
        f"{entry['within_a_video']} {kind} equal, {entry['near_within_a_video']} near"
        for kind, entry in report["duplicates"].items()
    ]
    lines.append(f"expressions like another one of their video: {'; '.join(alike)}")
    for status, reasons in report["reasons"].items():
        lines += [f"  {status} {count}: {reason}" for reason, count in reasons.items()]
    return "\n".join(lines)


__all__ = ["quality_report", "summarise"]
