"""What subcommands share: loading a model, the kind of an input, what is kept of a run that stopped early."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from desa2va.processing.files import MaskOptions

VIDEO_SUFFIXES = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".gif", ".mpg", ".mpeg"}


@dataclass(frozen=True, kw_only=True)
class AskSettings:
    """What is asked of a picture or a video beside words.

    Attributes:
        task: `"segment"`, `"auto"` or `"gcg"`.
        max_new_tokens: Longest answer.
        options: Of the masks.
        refine_small: Look at small objects again, closely.
        verify: Ask the model back about its masks.
        marks: Points, boxes and masks as the processor takes them.
    """

    task: str = "segment"
    max_new_tokens: int = 128
    options: MaskOptions | None = None
    refine_small: bool = False
    verify: bool = False
    marks: dict[str, Any] = field(default_factory=dict)


def joined_texts(answers: Sequence[Any]) -> dict[str, str]:
    """Return what one result says of several requests: `text`, `raw_text` and `request`, a line for each."""
    names = ("text", "raw_text", "request")
    return {name: "\n".join(getattr(answer, name) for answer in answers) for name in names}


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


def load_model(args: argparse.Namespace) -> tuple[Any, Any]:
    """Load model and processor as `argument_types.add_model_arguments` describes them."""
    from transformers.utils.logging import disable_progress_bar

    from desa2va.hub import load

    disable_progress_bar()
    return load(args.model, sam2=args.sam2, device=args.device, dtype=args.dtype)


def say_folder(folder: Path) -> None:
    """Print what lies in a folder just written."""
    files = sorted(path.name for path in folder.iterdir())
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    print(f"{folder}: {len(files)} files, {size / 1e6:.1f} MB")
    print("  " + "  ".join(files))


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


def keep_finished(target: str | Path, finished: Callable[[Path], int]) -> Callable[[Path], bool]:
    """Return the `rescue` of `output_folder` that keeps finished results of a run that stopped early.

    They are kept in `<target>.partial` (or `.partial-2`, ...), and a line on standard error says so.

    Args:
        target: Of the run.
        finished: Tells how many results in the temporary folder are worth keeping.
    """
    target = Path(target).expanduser()

    def rescue(folder: Path) -> bool:
        number = finished(folder)
        if number:
            kept = _free_name(target.with_name(f"{target.name}.partial"))
            folder.rename(kept)
            print(f"desa2va: stopped early; {number} finished frames are kept in {kept}", file=sys.stderr)
        return bool(number)

    return rescue


def _free_name(path: Path) -> Path:
    """Return `path`, or `path-2`, `path-3`, ... where that exists."""
    candidates = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(name for name in chain([path], candidates) if not name.exists())


__all__ = [
    "AskSettings",
    "VIDEO_SUFFIXES",
    "add_command",
    "input_kind",
    "joined_texts",
    "keep_finished",
    "load_model",
    "say_folder",
]
