"""Arguments of programs: numbers within bounds, names with the nearest known one, errors as one line, which model.

What enters: words of a command line. What leaves: values that can be meant, or a `ValueError`, which `program` tells
in one line. Imports nothing of the package and nothing heavy. (Engineering; no paper section.)
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

LARGEST = 2**31 - 1
LARGEST_SEED = 2**32 - 1


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises, where the one of Python prints its usage and exits."""

    def error(self, message: str) -> NoReturn:
        """Raise `ValueError`."""
        raise ValueError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Tell the nearest name of an unknown subcommand, where Python lists all of them."""
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, unknown_name(str(value), action.choices))


def integer(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """Return a `type` for whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            bounds = f"at least {least}" + (f" and at most {most}" if most != LARGEST else "")
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number of {bounds}")
        return number

    return read


def named(*names: str) -> dict[str, Any]:
    """Return `type` and `metavar` for one of these names."""

    def read(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(unknown_name(text, names))
        return text

    return {"type": read, "metavar": f"{{{','.join(names)}}}"}


def unknown_name(name: str, known: Iterable[str]) -> str:
    """Return a sentence about a name nobody knows: the nearest known one, and all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{name[:40]!r} is unknown; {hint}known are {', '.join(known)}"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--model`, `--sam2`, `--device` and `--dtype`."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default="desa2va-tiny",
        metavar="M",
        help="desa2va-tiny (shipped), a folder or a Hub id, also of a Sa2VA; default: %(default)s",
    )
    group.add_argument(
        "--sam2",
        metavar="S",
        help="untouched SAM-2 beside a published Sa2VA, InternVL or Qwen-VL: folder, .pt, Hub id",
    )
    group.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: cuda when present, else cpu")
    group.add_argument("--dtype", **named("float32", "bfloat16", "float16"), help="type of the weights")


__all__ = ["LARGEST", "LARGEST_SEED", "Parser", "add_model_arguments", "integer", "named", "unknown_name"]
