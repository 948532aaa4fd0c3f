"""`desa2va data`: write RefShapes to disk; check, prepare and list what a training can read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from desa2va.argument_types import LARGEST_SEED, integer, named

from .common import add_command

_EXAMPLES = """
  desa2va data refshapes --out shapes                                  200 training and 50 validation samples
  desa2va data refshapes --out shapes --split train --limit 5000 --level standard
  desa2va data refshapes --out mevis --format mevis --seed 3           videos, in the layout of MeViS
  desa2va data check photos --sheet sheet.html                         what it holds, what is wrong; a page to look at
  desa2va data check refcoco --option split=val                        a published set, below data/
  desa2va data prepare photos --out shards                             the same as Parquet shards, which stream
  desa2va data status                                                  which published sets are there
"""
SHOWN_OF_A_KIND = 20
_FORMATS = ("finetune", "refcoco", "mevis", "gcg")


def add_parser(subparsers: Any) -> None:
    """Describe the command and its parts."""
    parser = add_command(subparsers, "data", "write a procedural data set; check, prepare and list others", _EXAMPLES)
    parts = parser.add_subparsers(
        title="what to do", dest="dataset", metavar="refshapes|check|prepare|status", required=True
    )
    shapes = add_command(parts, "refshapes", "write the procedural data set to disk", _EXAMPLES)
    shapes.add_argument("--out", required=True, metavar="DIR", help="target; must be absent or empty")
    shapes.add_argument(
        "--format", **named(*_FORMATS), default="finetune", help="layout on disk; default: %(default)s"
    )
    shapes.add_argument(
        "--level", **named("easy", "standard", "full"), default="full", help="difficulty; default: %(default)s"
    )
    shapes.add_argument(
        "--split",
        metavar="S",
        help="write this split alone, e.g. train, val or test; default: all splits of the format",
    )
    shapes.add_argument(
        "--seed",
        type=integer(0, LARGEST_SEED),
        default=0,
        metavar="N",
        help="another seed gives another world; default: %(default)s",
    )
    shapes.add_argument(
        "--limit",
        type=integer(1),
        metavar="N",
        help="samples per split; default: a small number of each split",
    )
    shapes.set_defaults(run=run)
    check = add_command(parts, "check", "list what a data set holds and every problem in it", _EXAMPLES)
    _add_source(check)
    check.add_argument(
        "--model",
        default="desa2va-tiny",
        metavar="M",
        help="whose sequences the texts have to fit into: a folder or a Hub id; default: %(default)s",
    )
    check.add_argument("--sheet", metavar="FILE", help="also write an HTML page of overlays to look at")
    check.set_defaults(run=run_check)
    prepare = add_command(parts, "prepare", "write a data set as Parquet shards, or what is missing of it", _EXAMPLES)
    _add_source(prepare)
    prepare.add_argument("--out", required=True, metavar="DIR", help="absent, empty, or of the same command before")
    prepare.add_argument("--link", action="store_true", help="names of pictures and videos in place of their contents")
    prepare.add_argument(
        "--shard-size", type=integer(1), default=500, metavar="N", help="records of a shard; default: %(default)s"
    )
    prepare.add_argument(
        "--jobs", type=integer(1), default=4, metavar="N", help="shards at a time; default: %(default)s"
    )
    prepare.set_defaults(run=run_prepare)
    status = add_command(parts, "status", "list the published sets: what is there, what is missing", _EXAMPLES)
    status.add_argument("--root", default="data", metavar="DIR", help="folder of all sets; default: %(default)s")
    status.set_defaults(run=run_status)


def _add_source(parser: argparse.ArgumentParser) -> None:
    """What names a data set."""
    parser.add_argument("source", metavar="SOURCE", help="a path, hub:owner/name, or a published set (docs/data.md)")
    parser.add_argument(
        "--images", metavar="DIR", help="where its file names start from; default: images/ beside it, or its folder"
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of its reader, as in data.options (docs/data.md); may be given again",
    )


def run(args: argparse.Namespace) -> int:
    """Write the data and say where."""
    from desa2va.training.data.refshapes import DEFAULT_SPLITS, write_refshapes

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


def _source(args: argparse.Namespace) -> Any:
    """The data set that the words name."""
    from desa2va.training.data.sources import open_source, reader_options
    from desa2va.training.field_check import check_fields
    from desa2va.training.recipe_file import apply_overrides

    given: dict[str, Any] = {}
    for entry in args.option:
        given = apply_overrides({"data": {"options": given}}, [f"data.options.{entry}"])["data"]["options"]
    if args.images:
        given["image_root"] = args.images
    return open_source(args.source, **check_fields(given, reader_options(args.source), "--option"))


def run_check(args: argparse.Namespace) -> int:
    """Read every record, mask and pixel; say what is there and what is wrong. Returns 1 where anything is."""
    import desa2va.auto  # noqa: F401  (without it transformers warns of an unknown kind of model)
    from desa2va.model_files import resolve
    from desa2va.processing.files import check_file_target
    from desa2va.processing.processing_desa2va import DeSa2VAProcessor
    from desa2va.training.data.contact_sheet import ContactSheet
    from desa2va.training.data.record_check import check_source

    if args.sheet:
        check_file_target("--sheet", args.sheet)
    processor = DeSa2VAProcessor.from_pretrained(resolve(args.model))
    sheet = ContactSheet() if args.sheet else None
    report = check_source(_source(args), processor, *([sheet.add] if sheet else []))
    kinds: dict[str, list[Any]] = {}
    for problem in report.problems:
        kinds.setdefault(problem.field.split()[0], []).append(problem)
    for kind, found in kinds.items():
        for problem in found[:SHOWN_OF_A_KIND]:
            print(problem)
        if len(found) > SHOWN_OF_A_KIND:
            print(f"... and {len(found) - SHOWN_OF_A_KIND} more records whose {kind} is wrong")
    for note, names in report.notes.items():
        print(f"note: {note} in {len(names)} records, the first: {names[0]}")
    if report.licences:
        print("licences: " + ", ".join(f"{name} ({count})" for name, count in report.licences.most_common()))
    if sheet:
        sheet.save(args.sheet, args.source)
        print(f"{args.sheet}: records to look at")
    counts, number = ", ".join(f"{count} {name}" for name, count in report.counts.items()), len(report.problems)
    print(f"{args.source}: {counts}; {number or 'no'} problem{'s' * (number != 1)}")
    return int(bool(number))


def run_prepare(args: argparse.Namespace) -> int:
    """Write the shards that are missing and say what there is."""
    from tqdm import tqdm

    from desa2va.training.data.prepare import prepare

    with tqdm(desc="shards", unit="shard") as bar:

        def show(done: int, count: int) -> None:
            bar.total = count
            bar.update(done - bar.n)

        settings = {"shard_size": args.shard_size, "link": args.link, "workers": args.jobs}
        found = prepare(_source(args), args.out, **settings, progress=show)
    size = sum(shard["bytes"] for shard in found["shards"]) / 1e6
    print(f"{args.out}: {found['records']} records in {len(found['shards'])} shards, {size:.1f} MB")
    return 0


def run_status(args: argparse.Namespace) -> int:
    """List every published set."""
    from desa2va.training.data.readers import READERS

    for name, reader in READERS.items():
        status = reader.present(Path(args.root))
        state = "complete" if status.complete else ("incomplete" if status.found else "absent")
        print("; ".join([f"{name}: {state}", *filter(None, (status.licence, status.note))]))
        if not status.complete:
            print(f"    missing below {args.root}: {', '.join(status.missing)}")
            print(f"    where: {status.where}")
    return 0
