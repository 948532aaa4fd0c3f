"""`desa2va data`: write the procedural data set RefShapes to disk, or check a fine-tune file before training on it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from desa2va.argument_types import LARGEST_SEED, integer, named

from .common import add_command

_EXAMPLES = """
  desa2va data refshapes --out shapes                                  200 training and 50 validation samples
  desa2va data refshapes --out shapes --split train --limit 5000 --level standard
  desa2va data refshapes --out mevis --format mevis --seed 3           videos, in the layout of MeViS
  desa2va data check photos/train.json                                 what a fine-tune file holds, and what is wrong
"""
SHOWN_OF_A_KIND = 20
_FORMATS = ("finetune", "refcoco", "mevis", "gcg")


def add_parser(subparsers: Any) -> None:
    """Describe the command and its two parts."""
    parser = add_command(subparsers, "data", "write a procedural data set, or check a fine-tune file", _EXAMPLES)
    parts = parser.add_subparsers(title="what to do", dest="dataset", metavar="refshapes|check", required=True)
    shapes = add_command(parts, "refshapes", "write the procedural data set to disk", _EXAMPLES)
    shapes.add_argument("--out", required=True, metavar="DIR", help="target; must be absent or empty")
    shapes.add_argument(
        "--format", **named(*_FORMATS), default="finetune", help="layout on disk; default: %(default)s"
    )
    shapes.add_argument(
        "--level", **named("easy", "standard", "full"), default="full", help="difficulty; default: %(default)s"
    )
    shapes.add_argument(
        "--split",
        metavar="S",
        help="write this split alone, e.g. train, val or test; default: all splits of the format",
    )
    shapes.add_argument(
        "--seed",
        type=integer(0, LARGEST_SEED),
        default=0,
        metavar="N",
        help="another seed gives another world; default: %(default)s",
    )
    shapes.add_argument(
        "--limit",
        type=integer(1),
        metavar="N",
        help="samples per split; default: a small number of each split",
    )
    shapes.set_defaults(run=run)
    check = add_command(parts, "check", "list what a fine-tune file holds and every problem in it", _EXAMPLES)
    check.add_argument("file", metavar="FILE", help="a fine-tune JSON (docs/finetuning.md)")
    check.add_argument(
        "--images", metavar="DIR", help="where its file names start from; default: images/ beside it, or its folder"
    )
    check.add_argument(
        "--model",
        default="desa2va-tiny",
        metavar="M",
        help="whose sequences the texts have to fit into: a folder or a Hub id; default: %(default)s",
    )
    check.set_defaults(run=run_check)


def run(args: argparse.Namespace) -> int:
    """Write the data and say where."""
    from desa2va.training.data.refshapes import DEFAULT_SPLITS, write_refshapes

    splits = dict(DEFAULT_SPLITS[args.format])
    if args.split:
        splits = {args.split: splits.get(args.split, max(splits.values()))}
    if args.limit is not None:
        splits = dict.fromkeys(splits, args.limit)
    folder = write_refshapes(args.out, args.format, splits=splits, level=args.level, seed=args.seed)
    counts = ", ".join(f"{count} {name}" for name, count in splits.items())
    files = sum(path.is_file() for path in Path(folder).rglob("*"))
    print(f"{folder}: {counts} samples in {files} files ({args.format}, level {args.level}, seed {args.seed})")
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Read every record, mask and pixel; say what is there and what is wrong. Returns 1 where anything is."""
    from desa2va.model_files import resolve
    from desa2va.processing.processing_desa2va import DeSa2VAProcessor
    from desa2va.training.data.record_lengths import too_long
    from desa2va.training.data.record_media import unreadable
    from desa2va.training.data.records import RecordError
    from desa2va.training.data.sources import count_records, open_source

    processor = DeSa2VAProcessor.from_pretrained(resolve(args.model))
    source = open_source(args.file, **({"image_root": args.images} if args.images else {}))
    problems, counts = [], count_records(())
    for item in source.items():
        if isinstance(item, RecordError):
            problems.append(item)
        else:
            counts.update(count_records((item,)))
            problems += unreadable(item) or too_long(item, processor)
    kinds: dict[str, list[Any]] = {}
    for problem in problems:
        kinds.setdefault(problem.field.split()[0], []).append(problem)
    for kind, found in kinds.items():
        for problem in found[:SHOWN_OF_A_KIND]:
            print(problem)
        if len(found) > SHOWN_OF_A_KIND:
            print(f"... and {len(found) - SHOWN_OF_A_KIND} more records whose {kind} is wrong")
    counts = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"{args.file}: {counts}; {len(problems) or 'no'} problem{'s' * (len(problems) != 1)}")
    return int(bool(problems))
