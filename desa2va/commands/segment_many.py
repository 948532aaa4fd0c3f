"""`desa2va segment` on many pictures and videos: a folder, a list, a data set; alone or one of several processes."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desa2va.argument_types import integer

from .common import load_model
from .marks import NAMES

if TYPE_CHECKING:
    from desa2va.bulk.items import Items
    from desa2va.bulk.run import BulkSettings

_LIST = ".txt"


def add_many_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what only holds for many."""
    group = parser.add_argument_group("many pictures and videos")
    group.add_argument("--each", action="store_true", help="a folder is many pictures and videos, not frames of one")
    group.add_argument("--column", metavar="C", help="INPUT is a data set, this is its column of pictures or videos")
    group.add_argument("--split", default="train", metavar="S", help="of a data set; default: %(default)s")
    group.add_argument(
        "--batch", type=integer(1, 4096), default=1, metavar="N", help="questions about pictures in one pass"
    )
    group.add_argument("--table-only", action="store_true", help="no folder for each item, the table alone")


def is_many(args: argparse.Namespace) -> bool:
    """Whether the input is a folder, list or data set of several, by its form and the options."""
    path = Path(args.input)
    if args.column is not None or (path.suffix.lower() == _LIST and path.is_file()):
        return True
    if not path.is_dir():
        if args.each:
            raise ValueError(f"--each is for a folder; {args.input} is none")
        return False
    return args.each or not _holds_frames(path)


def _holds_frames(folder: Path) -> bool:
    """Whether pictures lie in a folder itself; else it can only be one of many."""
    from desa2va.processing.inputs import IMAGE_EXTENSIONS

    return any(path.suffix.lower() in IMAGE_EXTENSIONS for path in folder.iterdir()) or not any(folder.iterdir())


def run_many(args: argparse.Namespace) -> int:
    """Do this process' share and say how far the run is; exit code 1 where items failed."""
    if args.out is None:
        raise ValueError("--out is needed for many pictures and videos: the folder of the run, also to go on with it")
    if not args.what:
        raise ValueError("nothing is asked: say what to segment, in words")
    for option in ("replace", "refine_small", "verify", "explain", *NAMES):
        if getattr(args, option):
            name = NAMES.get(option, f"--{option.replace('_', '-')}")
            raise ValueError(f"{name} is for one picture or video, not for many")
    from desa2va.bulk.run import begin_run, run_items
    from desa2va.eval.benchmarks.processes import launched, own_device

    items, settings, out = _items(args), _settings(args), Path(args.out).expanduser()
    begin_run(out, {**settings.about, "items": items.identity})  # what is wrong shows before the model is loaded
    args.device = own_device(args.device)
    model, processor = load_model(args)
    report = run_items(model, processor, items, out, settings, *launched())
    print(
        f"{out}: {report['done']} of {report['items']} done, {report['failed']} failed, {report['left']} left; "
        f"{report['objects']} objects"
    )
    if settings.video and "video" not in report["kinds"]:
        given = " and ".join(f"--{name.replace('_', '-')}" for name in settings.video)
        print(f"{given} changed nothing: no video is among them")
    for item, why in list(report["errors"].items())[:10]:
        print(f"  {item}: {why}")
    return 1 if report["errors"] else 0


def _items(args: argparse.Namespace) -> Items:
    from desa2va.bulk.items import folder_items, list_items, table_items

    if args.column is not None:
        return table_items(args.input, args.column, args.split)
    path = Path(args.input)
    return folder_items(path) if path.is_dir() else list_items(path)


def _settings(args: argparse.Namespace) -> BulkSettings:
    from desa2va.bulk.run import BulkSettings

    from .segment import settings_of

    video = {
        name: getattr(args, name)
        for name in ("key_frames", "num_key_frames", "strategy")
        if getattr(args, name) is not None
    }
    options = settings_of(args)["options"]
    about: dict[str, Any] = {
        "what": args.what,
        "task": args.task,
        "model": args.model,
        "max_new_tokens": args.max_new_tokens,
        "max_frames": args.max_frames,
        "video": video,
        "options": asdict(options),
    }
    return BulkSettings(
        args.what,
        args.task,
        args.max_new_tokens,
        video,
        args.max_frames,
        options,
        args.batch,
        args.table_only,
        about,
    )


__all__ = ["add_many_arguments", "is_many", "run_many"]
