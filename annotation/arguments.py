"""The arguments of the annotation, for `desa2va annotate` and for `python -m desa2va.annotation.annotate`.

(Engineering; no paper section.)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from desa2va.argument_types import integer, named


def add_annotation_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all of them."""
    parser.add_argument(
        "videos", metavar="VIDEOS", help="a folder of videos or of folders of frames, one of these, or refshapes"
    )
    parser.add_argument(
        "--masklets",
        type=Path,
        metavar="PATH",
        help="SA-V's JSON files, palette pictures by video and frame, or saved sessions: a folder, or one of them",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new, or of a run to go on with")
    parser.add_argument("--limit", type=integer(1), metavar="N", help="only the first videos")
    parser.add_argument(
        "--validation",
        type=number(0, 1),
        default=0.05,
        metavar="S",
        help="share of the videos that are kept for validation; default: %(default)s",
    )
    parser.add_argument(
        "--decisions",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="what a page of the review wrote; once for every file",
    )
    parser.add_argument(
        "--round-trip", metavar="M", help="segment with every expression by this model, and compare with the masklet"
    )
    _add_describers(parser.add_argument_group("who describes"))
    _add_limits(parser.add_argument_group("an endpoint"))


def _add_describers(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--describer",
        default="measured",
        metavar="M",
        help="an image-text-to-text model of transformers (folder or Hub id), a model of --endpoint, or measured: no "
        "model, colour, place and movement alone; default: %(default)s",
    )
    group.add_argument("--checker", metavar="M", help="who checks and shortens texts; default: the describer")
    group.add_argument("--prompts", type=Path, metavar="DIR", help="own crop.txt, scene.txt, ... (docs/annotate.md)")
    group.add_argument(
        "--batch-size", type=integer(1), default=4, metavar="N", help="asks at a time; default: %(default)s"
    )
    group.add_argument(
        "--max-tokens", type=integer(1), default=384, metavar="N", help="longest answer; default: %(default)s"
    )
    group.add_argument("--device", help="cpu, cuda, ...; default: a GPU for each process where present")
    group.add_argument("--dtype", **named("float32", "bfloat16", "float16"), help="default: that of the model's files")


def _add_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--endpoint", metavar="URL", help="OpenAI-compatible, e.g. http://localhost:8000/v1")
    group.add_argument("--checker-endpoint", metavar="URL", help="the same for the checker")
    group.add_argument(
        "--timeout", type=number(0.1), default=120.0, metavar="S", help="seconds of one try; default: %(default)s"
    )
    group.add_argument(
        "--retries", type=integer(0), default=5, metavar="N", help="further tries; default: %(default)s"
    )
    group.add_argument("--requests-per-minute", type=number(0.001), metavar="N", help="of all processes together")
    group.add_argument("--max-cost", type=number(0), metavar="C", help="of all runs into --out; needs --prices")
    group.add_argument(
        "--prices",
        type=number(0),
        nargs=2,
        default=[0.0, 0.0],
        metavar=("IN", "OUT"),
        help="of a million tokens of requests and of answers",
    )


def number(least: float, most: float = 1e12) -> Callable[[str], float]:
    """Return a `type` for numbers from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            bounds = f"at least {least:g}" + (f" and at most {most:g}" if most < 1e12 else "")
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number of {bounds}")
        return value

    return read


__all__ = ["add_annotation_arguments", "number"]
