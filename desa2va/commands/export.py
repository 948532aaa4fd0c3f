"""`desa2va export`: a folder that loads where this package is not installed, ready for the Hub."""

from __future__ import annotations

import argparse
from typing import Any

from .common import add_command, say_folder

_EXAMPLES = """
  desa2va export my-model                        the shipped model
  desa2va export my-model --model runs/phase3    a model you trained
  python -c "from transformers import AutoModel; AutoModel.from_pretrained('my-model', trust_remote_code=True)"
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(
        subparsers, "export", "write weights, processor, flat code and model card into one folder", _EXAMPLES
    )
    parser.add_argument("folder", metavar="DIR", help="target; must be absent or empty")
    parser.add_argument(
        "--model", default="desa2va-tiny", metavar="M", help="desa2va-tiny, a folder or a Hub id; default: %(default)s"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and say what was written."""
    from transformers.utils.logging import disable_progress_bar

    from desa2va.hub import export_model

    disable_progress_bar()
    say_folder(export_model(args.folder, args.model))
    return 0
