"""What a benchmark's server scores: a zip of masks, written and then looked through.

Enters: answered questions. Leaves: `<top><video>/<exp_id>/<frame>.png`, one 8-bit grey picture of 0 and 255 for every
frame that the annotation file lists, in the size of the video (MeViS: no top folder; Refer-YouTube-VOS:
`Annotations/`). The same answers make the same bytes. (Engineering; no paper section.)
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from desa2va.processing.files import write_file

from .questions import Answer, Question

_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can tell


def write_submission(path: Path, top: str, answered: Iterable[tuple[Question, Answer]]) -> None:
    """Writes the zip: complete, or not at all.

    Args:
        path: of the zip. top: folder of all videos with its slash, or `""`. answered: every sample of the split.

    Raises:
        ValueError: masks of another size than the question's.
    """

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
            for question, answer in answered:
                for name, mask in zip(_names(question, top), answer.mask(question), strict=True):
                    buffer = io.BytesIO()
                    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, format="PNG")
                    file.writestr(zipfile.ZipInfo(name, _MOMENT), buffer.getvalue())

    write_file(path, write, overwrite=True)


def check_submission(path: Path, top: str, questions: Iterable[Question]) -> int:
    """Looks through a zip as its server will.

    Args:
        path, top: as in `write_submission`. questions: every sample of the split.

    Returns:
        The number of pictures.

    Raises:
        FileNotFoundError: no such file. ValueError: no zip, a picture too few or too many, or one of another kind,
            size or with other values; the picture is named.
    """
    try:
        with zipfile.ZipFile(path) as file:
            left = [info.filename for info in file.infolist() if not info.is_dir()]
            twice = {name for name in left if left.count(name) > 1} if len(set(left)) < len(left) else set()
            if twice:
                raise ValueError(f"{path}: {min(twice)} is there twice")
            unseen, count = set(left), 0
            for question in questions:
                for name in _names(question, top):
                    if name not in unseen:
                        raise ValueError(f"{path}: {name} is missing")
                    _check_picture(f"{path}: {name}", file.read(name), question.record.size)
                    unseen.remove(name)
                    count += 1
    except (zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise ValueError(f"{path} is no zip that can be read ({error})") from error
    if unseen:
        raise ValueError(f"{path}: {min(unseen)} belongs to no sample ({len(unseen)} such files)")
    return count


def _check_picture(name: str, content: bytes, size: tuple[int, int]) -> None:
    try:
        with Image.open(io.BytesIO(content)) as image:
            kind, mode, pixels = image.format, image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{name} is no picture ({error})") from error
    if kind != "PNG" or mode != "L":
        raise ValueError(f"{name} is a {kind} of mode {mode}; masks are PNG of mode L (8-bit grey)")
    if pixels.shape != tuple(size):
        raise ValueError(f"{name} is {pixels.shape}, its frame is {tuple(size)} (height, width)")
    if not np.isin(pixels, (0, 255)).all():
        raise ValueError(f"{name} holds values other than 0 and 255")


def _names(question: Question, top: str) -> Iterator[str]:
    video, expression = question.dialogue.ids["video"], question.dialogue.ids["exp_id"]
    return (f"{top}{video}/{expression}/{Path(path).stem}.png" for path in question.record.paths)


__all__ = ["check_submission", "write_submission"]
