"""`desa2va annotate`: long and short expressions for masklets of your own videos, written by models."""

from __future__ import annotations

import argparse
from typing import Any

from desa2va.annotation.arguments import add_annotation_arguments

from .common import add_command

_EXAMPLES = """
  desa2va annotate refshapes --out trial                     how true, and which conflicts are told, on known scenes
  desa2va annotate videos --masklets masks --out expressions --describer Qwen/Qwen2.5-VL-7B-Instruct
  desa2va annotate sav_train --masklets sav_train --out expressions --describer big-vl --endpoint http://localhost:8000/v1
  desa2va annotate videos --masklets masks --out expressions --decisions decisions.json
  accelerate launch --num_processes 8 -m desa2va.annotation.annotate videos --masklets masks --out expressions
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(
        subparsers, "annotate", "write expressions for the objects of videos whose masks are known", _EXAMPLES
    )
    add_annotation_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Describe, write the data set, print the table."""
    from desa2va.annotation.annotate import exit_code, told
    from desa2va.annotation.annotate import run as annotate

    finished = annotate(args)
    if finished is None:
        return 0
    print(told(finished, args.out))
    return exit_code(finished)
