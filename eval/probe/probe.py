"""`desa2va probe`: one or two checkpoints, the same held-out scenes, every figure.

Names of models enter, a report of plain values leaves, with what it was measured with. (Paper section 3.2; the
measures are explained in `docs/probe.md`.)
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from tqdm.auto import tqdm

from desa2va.argument_types import unknown_name
from desa2va.eval.answering import evaluation_mode
from desa2va.eval.provenance import describe_run, model_folder, weights_sha256
from desa2va.eval.report_file import write_report
from desa2va.processing.files import check_file_target
from desa2va.training.data.refshapes import PICTURE_KINDS, VERSION

from .features import CONVERSATIONS, KINDS, Features, collect
from .measures import LEAST_SCENES, difference, measure, num_measures
from .training_log import BEFORE_DECOUPLING, DISCRIMINATORS, read_training

FIGURE_SUFFIXES = (".png", ".pdf", ".svg")


def probe_model(
    model: Any,
    processor: Any,
    *,
    level: str = "standard",
    split: str = "test",
    seed: int = 0,
    scenes: int = 600,
    batch_size: int = 16,
) -> tuple[dict[str, Any], Features]:
    """Probe a model on RefShapes.

    Args:
        model: a `DeSa2VAModel`; put into eval mode and back.
        processor: its `DeSa2VAProcessor`.
        level: "easy", "standard" or "full".
        split: "train", "validation" or "test".
        seed: of the data set and of every draw.
        scenes: at least 20; four requests each.
        batch_size: scenes read together.

    Returns:
        The figures (see `docs/probe.md`), and what they were measured on.

    Raises:
        ValueError: an unknown level, a negative seed, or a number that is too small.
    """
    _check(level, seed, scenes, batch_size)
    with evaluation_mode(model), tqdm(total=scenes, desc=f"refshapes {level} {split}", disable=None) as bar:
        options = {"level": level, "split": split, "seed": seed, "scenes": scenes, "batch_size": batch_size}
        features = collect(model, processor, **options, progress=bar.update)
    with tqdm(total=num_measures(), desc="measures", disable=None) as bar:
        figures = measure(features, seed, bar.update)
    notes = []
    if model.config.prompt_mode != "desa2va":
        notes.append("mode sa2va has one projection: there is no h_t and no h_l, and no separation to measure")
    return {"notes": notes, **figures}, features


def run(args: argparse.Namespace) -> tuple[dict[str, Any], Features]:
    """Load, measure, write the report.

    Args:
        args: `model`, `against` (or `None`), `level`, `split`, `seed`, `scenes`, `batch_size`, `device`, `dtype`,
            `json`, `figure`.

    Returns:
        The report, and the features of `model` for the figure.

    Raises:
        FileNotFoundError: a model, or the folder of an output, does not exist.
        IsADirectoryError: an output is a folder.
        ValueError: see `probe_model`; or a figure of an unknown kind.
    """
    _check(args.level, args.seed, args.scenes, args.batch_size)
    for option, path in (("--json", args.json), ("--figure", args.figure)):
        if path is not None:
            check_file_target(option, path)
    if args.figure is not None and args.figure.suffix.lower() not in FIGURE_SUFFIXES:
        raise ValueError(f"--figure {args.figure}: the name must end in one of {', '.join(FIGURE_SUFFIXES)}")
    report: dict[str, Any] = {name: getattr(args, name) for name in ("level", "split", "seed", "scenes")}
    report["data"] = {"data_version": VERSION, "conversations": CONVERSATIONS, "kinds": KINDS}
    report["model"], features = _probe_one(args.model, args)
    if args.against is not None:
        report["against"], _ = _probe_one(args.against, args)
        report["difference"] = difference(
            *({name: part[name] for name in part if name not in ("provenance", "training")} for part in _both(report))
        )
    if args.json is not None:
        write_report(args.json, report)
    return report, features


def _both(report: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return report["model"], report["against"]


def _probe_one(name: str, args: argparse.Namespace) -> tuple[dict[str, Any], Features]:
    """One checkpoint with its notes, curves and origin."""
    # The command line's floor; imported here because nothing else of this room may know it.
    from desa2va.hub import load
    from desa2va.model_files import locate

    started = time.perf_counter()
    model, processor = load(name, device=args.device, dtype=args.dtype)
    folder = model_folder(locate(name))
    options = {option: getattr(args, option) for option in ("level", "split", "seed", "scenes", "batch_size")}
    figures, features = probe_model(model, processor, **options)
    training = read_training(folder)
    if training["phase"] in BEFORE_DECOUPLING:
        figures["notes"].append(
            f"a checkpoint of phase {training['phase']}: W_t and W_v have not been fitted or trained yet, so h_t and "
            "h_v are random projections of x"
        )
    if not any(curve in training["curves"] for curve in DISCRIMINATORS):
        figures["notes"].append("no curves of the discriminators lie beside the checkpoint (trainer_state.json)")
    figures["training"] = training
    figures["provenance"] = {
        "model": str(name),
        "weights_sha256": weights_sha256(folder),
        **describe_run(model),
        "batch_size": args.batch_size,
        "seconds": round(time.perf_counter() - started, 1),
    }
    return figures, features


def _check(level: str, seed: int, scenes: int, batch_size: int) -> None:
    """Raises `ValueError` naming the argument that can not be."""
    if level not in PICTURE_KINDS:
        raise ValueError(f"level {unknown_name(level, PICTURE_KINDS)}")
    for name, value, least in (("seed", seed, 0), ("scenes", scenes, LEAST_SCENES), ("batch_size", batch_size, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


__all__ = ["probe_model", "run"]
