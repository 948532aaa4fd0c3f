"""What subcommands share: model arguments, the kind of an input, an output folder that is complete or absent."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any

VIDEO_SUFFIXES = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".gif", ".mpg", ".mpeg"}


def add_command(subparsers: Any, name: str, summary: str, examples: str, **options: Any) -> argparse.ArgumentParser:
    """Add a subcommand whose help ends with examples.

    Args:
        subparsers: What `ArgumentParser.add_subparsers` returned.
        name: The command's name.
        summary: One sentence.
        examples: Lines shown under "examples".
        **options: Passed on to `add_parser`.
    """
    return subparsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{examples.strip(chr(10))}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--model`, `--device` and `--dtype`."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default="desa2va-tiny",
        metavar="M",
        help="desa2va-tiny (shipped), a folder or a Hub id; default: %(default)s",
    )
    group.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: cuda when present, else cpu")
    group.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="type of the weights")


def load_model(args: argparse.Namespace) -> tuple[Any, Any]:
    """Load model and processor as `add_model_arguments` describes them."""
    from transformers.utils.logging import disable_progress_bar

    from desa2va.hub import load

    disable_progress_bar()
    return load(args.model, device=args.device, dtype=args.dtype)


def input_kind(source: str) -> str:
    """Return `"video"` for a folder of frames or a video file, else `"image"`.

    Raises:
        FileNotFoundError: If `source` is neither an address nor an existing path.
    """
    if source.startswith(("http://", "https://")):
        return "video" if Path(source.split("?")[0]).suffix.lower() in VIDEO_SUFFIXES else "image"
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no file or folder {source!r}; give a picture, a video or a folder of frames"
        )
    return "video" if path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES else "image"


@contextmanager
def output_folder(
    target: str | Path, replace: bool = False, finished: Callable[[Path], int] | None = None
) -> Iterator[Path]:
    """Yield a temporary sibling of `target` that takes its place only when the block ends well.

    Args:
        target: Must be absent or an empty folder, unless `replace`.
        replace: Remove an existing folder of that name first.
        finished: Tells how many results in the temporary folder are worth keeping after an error. They are kept in
            `<target>.partial` (or `.partial-2`, ...) then, and a line on standard error says so.

    Raises:
        FileExistsError: If the target exists and may not be replaced.
    """
    target = Path(target)
    occupied = target.exists() and (not target.is_dir() or any(target.iterdir()))
    if occupied and (not replace or not target.is_dir()):
        raise FileExistsError(f"{target} exists; nothing was written, choose another --out or pass --replace")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield temporary
        open_to_others(temporary)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    except BaseException:
        number = 0 if finished is None else finished(temporary)
        if not number:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        open_to_others(temporary)
        kept = _free_name(target.with_name(f"{target.name}.partial"))
        temporary.rename(kept)
        print(f"desa2va: stopped early; {number} finished frames are kept in {kept}", file=sys.stderr)
        raise


def _free_name(path: Path) -> Path:
    """Return `path`, or `path-2`, `path-3`, ... where that exists."""
    candidates = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(name for name in chain([path], candidates) if not name.exists())


def open_to_others(folder: Path) -> None:
    """Give a temporary folder and its files the permissions that newly made ones have."""
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)
    for path in folder.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


__all__ = ["add_command", "add_model_arguments", "input_kind", "load_model", "open_to_others", "output_folder"]
