"""`desa2va convert`: published weights as a folder of ours."""

from __future__ import annotations

import argparse
from typing import Any

from desa2va.argument_types import named

from .common import add_command

_EXAMPLES = """
  desa2va convert ByteDance/Sa2VA-4B --out sa2va-4b
  desa2va convert ByteDance/Sa2VA-4B --sam2 facebook/sam2-hiera-large --out sa2va-i-4b
  desa2va convert ByteDance/Sa2VA-4B --sam2 facebook/sam2-hiera-large --init-desa2va --out start
  desa2va convert OpenGVLab/InternVL3-2B --sam2 facebook/sam2.1-hiera-large --out start
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "convert", "write published weights as a model folder of this package", _EXAMPLES)
    parser.add_argument("source", metavar="SOURCE", help="folder or Hub id of a Sa2VA, an InternVL or a Qwen-VL")
    parser.add_argument("--out", required=True, metavar="DIR", help="target; must be absent or empty")
    parser.add_argument("--sam2", metavar="S", help="untouched SAM-2: folder, original .pt file or Hub id")
    parser.add_argument(
        "--init-desa2va", action="store_true", help="start a DeSa2VA: both branches begin with Sa2VA's decoder"
    )
    parser.add_argument(
        "--dtype", **named("float32", "bfloat16", "float16"), help="type of the weights; default: as stored"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert and say what was written."""
    from transformers.utils.logging import disable_progress_bar

    from desa2va.hub import convert_model

    disable_progress_bar()
    folder = convert_model(args.source, args.out, args.sam2, args.init_desa2va, args.dtype or "auto")
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB; use it with --model {folder}")
    return 0
