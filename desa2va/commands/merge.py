"""`desa2va merge`: an adapter and its base model become one folder that needs neither."""

from __future__ import annotations

import argparse
from typing import Any

from desa2va.argument_types import named

from .common import add_command, say_folder

_EXAMPLES = """
  desa2va merge runs/photos/adapter --out my-model
  desa2va merge owner/my-adapter --out my-model --model copies/base
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "merge", "write an adapter and its base model as one model", _EXAMPLES)
    parser.add_argument("adapter", metavar="ADAPTER", help="a folder or a Hub id with adapter_config.json")
    parser.add_argument("--out", required=True, metavar="DIR", help="target; must be absent or empty")
    parser.add_argument("--model", metavar="BASE", help="the base model; default: the one that the adapter names")
    parser.add_argument(
        "--dtype",
        **named("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="type of the written weights; default: that of the base model, to which the adapter's are rounded",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Merge and say what was written."""
    from transformers.utils.logging import disable_progress_bar

    from desa2va.adapters import find_adapter
    from desa2va.hub import export_model

    disable_progress_bar()
    if find_adapter(args.adapter) is None:
        raise ValueError(f"{args.adapter} is no adapter: there is no adapter_config.json, or it is a whole model")
    say_folder(export_model(args.out, args.adapter, args.model, args.dtype))
    return 0
