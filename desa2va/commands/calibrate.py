"""`desa2va calibrate`: when the model says that nothing fits, fitted on your own validation set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from desa2va.argument_types import add_model_arguments, integer

from .common import add_command, load_model

_EXAMPLES = """
  desa2va calibrate photos/validation.json --model my-model       written into my-model/config.json
  desa2va calibrate refshapes --out calibrated                    the shipped model, as a calibrated copy
  desa2va calibrate photos/validation.json --model my-model --true-answers 0.95
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(
        subparsers, "calibrate", "fit when a request counts as having no target, on your validation set", _EXAMPLES
    )
    parser.add_argument(
        "data", metavar="DATA", help="refshapes, or your data (docs/data.md) with expressions that fit nothing"
    )
    parser.add_argument("--images", help="where its file names start from; default: images/ beside it, or its folder")
    parser.add_argument("--out", metavar="DIR", help="write a calibrated copy here; default: into the model's folder")
    parser.add_argument(
        "--true-answers",
        type=_rate,
        default=0.98,
        metavar="R",
        help="share of the requests with a target that are still to be answered; default: %(default)s",
    )
    parser.add_argument("--limit", type=integer(2), metavar="N", help="only so many requests (refshapes) or records")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def _rate(text: str) -> float:
    """A share above 0 and at most 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no share above 0 and at most 1")
    return value


def run(args: argparse.Namespace) -> int:
    """Fit, show the curve, write the fields."""
    from desa2va.calibrated import fields_file, own_folder, write_fields
    from desa2va.eval.calibration import calibrate, observe, summarise
    from desa2va.hub import export_model
    from desa2va.processing.files import check_file_target, check_folder_target, write_json

    folder = own_folder(args.model) if args.out is None else None
    if args.out is None and (folder is None or args.sam2 is not None):
        raise ValueError(f"--model {args.model} is no folder of a model of yours; say where the copy goes: --out DIR")
    if args.out is not None:
        check_folder_target("--out", args.out)
    else:
        check_file_target("--model", fields_file(folder))
    if args.json is not None:
        check_file_target("--json", args.json)
    requests = _requests(args)
    model, processor = load_model(args)
    model.config.target_calibration = None  # what is fitted starts from what the model tells by itself
    seen = observe(model, processor, requests)
    seen.check(args.data)
    report = calibrate(seen, args.true_answers, model.config.object_score_threshold)
    print(summarise(report, args.true_answers))
    if args.json is not None:
        write_json(args.json, {"model": args.model, "data": args.data, **report}, overwrite=True)
    written = write_fields(folder or export_model(args.out, args.model), report["fields"])
    print(f"written to {written}")
    return 0


def _requests(args: argparse.Namespace) -> Any:
    """What the model is asked."""
    from dataclasses import replace
    from itertools import islice

    from desa2va.eval.calibration import record_requests, refshapes_requests
    from desa2va.training.data.sources import open_source

    if args.data == "refshapes":
        limit = 1200 if args.limit is None else args.limit
        return refshapes_requests(limit, videos=limit // 12)
    source = open_source(args.data, **({"image_root": args.images} if args.images else {}))
    records = replace(source, published=False).records()  # a training may leave rows out, a measurement not
    return record_requests(islice(records, args.limit))
