"""`desa2va data`: write the procedural data set RefShapes to disk, in one of several layouts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import add_command

_EXAMPLES = """
  desa2va data refshapes --out shapes                                  200 training and 50 validation samples
  desa2va data refshapes --out shapes --split train --limit 5000 --level standard
  desa2va data refshapes --out mevis --format mevis --seed 3           videos, in the layout of MeViS
"""
_FORMATS = ("finetune", "refcoco", "mevis", "gcg")


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "data", "write a procedural data set to disk", _EXAMPLES)
    parser.add_argument("dataset", choices=("refshapes",), help="which data set")
    parser.add_argument("--out", required=True, metavar="DIR", help="target; must be absent or empty")
    parser.add_argument("--format", choices=_FORMATS, default="finetune", help="layout on disk; default: %(default)s")
    parser.add_argument(
        "--level", choices=("easy", "standard", "full"), default="full", help="difficulty; default: %(default)s"
    )
    parser.add_argument("--split", metavar="S", help="write this split alone; default: all splits of the format")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another world; default: %(default)s")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="samples per split; default: a small number of each split"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the data and say where."""
    from desa2va.training.data.refshapes_disk import DEFAULT_SPLITS, write_refshapes

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
