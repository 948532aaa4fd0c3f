"""The arguments of `desa2va eval refshapes`; imports nothing heavy, so `--help` is quick."""

from __future__ import annotations

import argparse
from pathlib import Path

from desa2va.argument_types import LARGEST_SEED, integer, named


def add_refshapes_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `desa2va.eval.refshapes.run`."""
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default="desa2va-tiny",
        metavar="M",
        help="desa2va-tiny (shipped), a folder or a Hub id; default: %(default)s",
    )
    model.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: cuda when present, else cpu")
    model.add_argument("--dtype", **named("float32", "bfloat16", "float16"), help="type of the weights")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--level", **named("easy", "standard", "full"), default="standard", help="difficulty; default: %(default)s"
    )
    data.add_argument(
        "--split", **named("train", "validation", "test"), default="test", help="of the scenes; default: %(default)s"
    )
    data.add_argument(
        "--seed", type=integer(0, LARGEST_SEED), default=0, metavar="N", help="another world; default: %(default)s"
    )
    data.add_argument(
        "--limit",
        type=integer(1),
        default=1000,
        metavar="N",
        help="scenes, one expression each; default: %(default)s",
    )
    data.add_argument("--videos", type=integer(0), default=100, metavar="V", help="0 for none; default: %(default)s")
    data.add_argument(
        "--tasks",
        type=integer(0),
        default=0,
        metavar="N",
        help="scenes of each further task: sets, examples, captions, regions, dialogues; default: %(default)s",
    )
    parser.add_argument(
        "--batch-size",
        type=integer(1, 4096),
        default=32,
        metavar="B",
        help="pictures answered together; default: %(default)s",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole report here")


__all__ = ["add_refshapes_arguments"]
