"""`desa2va export`: a folder that loads where this package is not installed, ready for the Hub."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .common import add_command, say_folder

_EXAMPLES = """
  desa2va export my-model                        the shipped model
  desa2va export my-model --model runs/phase3    a model you trained
  desa2va export graphs --onnx                   a picture's path as ONNX, compared with the model
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
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="the graphs of a picture's path as ONNX instead",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and say what was written."""
    from transformers.utils.logging import disable_progress_bar

    from desa2va.hub import export_model

    disable_progress_bar()
    if args.onnx:
        return _export_graphs(args)
    say_folder(export_model(args.folder, args.model))
    return 0


def _export_graphs(args: argparse.Namespace) -> int:
    """Export as ONNX, compare on the bundled picture and say how far the graphs are from the model."""
    import desa2va
    from desa2va.hub import load
    from desa2va.onnx_export import check_parity, export_onnx

    model, processor = load(args.model, device="cpu", dtype="float32")
    say_folder(export_onnx(model, processor, args.folder))
    demo = Path(desa2va.__file__).parent / "assets" / "demo"
    request = json.loads((demo / "prompts.json").read_text(encoding="utf-8"))["scene"]["requests"][0]
    parity = check_parity(model, processor, args.folder, demo / "scene.png", request)
    print(
        f"greatest difference from the model on the bundled picture: features {parity.features:.1e}, mask logits "
        f"{parity.logits:.1e}, scores {parity.scores:.1e}; IoU of the masks at least {parity.iou:.4f}"
    )
    return 0
