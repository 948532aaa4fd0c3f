"""The words of the asks: files `<step>.txt` whose first line is `version: N`, with `{step}` for what was said before.

A folder of the user's own may replace any of them. A version and a sum of the text go into every record.
(Engineering; Sa2VA prints none of its prompts.)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PLACEHOLDERS = {
    "crop": (),
    "blanked": (),
    "check": ("crop", "blanked"),
    "scene": ("blanked", "crop"),
    "video": ("scene",),
    "short": ("video",),
}
_FOLDER = Path(__file__).resolve().parent / "prompts"
_HEAD = re.compile(r"version: (\S+)\n\s*")
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Prompt:
    """The words of one step.

    Attributes:
        version: as its file says. text: with places for earlier answers.
    """

    version: str
    text: str

    @property
    def identity(self) -> str:
        """Version and the beginning of the text's SHA-256."""
        return f"{self.version} {hashlib.sha256(self.text.encode()).hexdigest()[:12]}"

    def filled(self, said: Mapping[str, str]) -> str:
        """The words with what was said; braces in an answer stay what they are."""
        return _PLACE.sub(lambda place: said[place[1]], self.text)


def read_prompts(folder: Path | None = None) -> dict[str, Prompt]:
    """The prompts of all steps.

    Args:
        folder: whose files replace those of the package.

    Raises:
        FileNotFoundError: no such folder. ValueError: a file of another name, without a version, or that lacks a place
            or has one that its step does not know.
    """
    prompts = {step: _read(_FOLDER / f"{step}.txt", step) for step in PLACEHOLDERS}
    if folder is None:
        return prompts
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder of prompts {folder}")
    for path in sorted(folder.glob("*.txt")):
        if path.stem not in PLACEHOLDERS:
            raise ValueError(f"{path}: there is no such step; prompts are {', '.join(f'{s}.txt' for s in prompts)}")
        prompts[path.stem] = _read(path, path.stem)
    return prompts


def _read(path: Path, step: str) -> Prompt:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: {error}") from error
    head = _HEAD.match(text)
    if head is None or not text[head.end() :].strip():
        raise ValueError(f"{path}: the first line must be 'version: 1' or the like, and the words follow")
    body = text[head.end() :].strip()
    found, expected = set(_PLACE.findall(body)), set(PLACEHOLDERS[step])
    if found != expected:
        told = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS[step]) or "none"
        raise ValueError(f"{path} has the places {sorted(found)}; a prompt of this step has {told}")
    return Prompt(head[1], body)


__all__ = ["PLACEHOLDERS", "Prompt", "read_prompts"]
