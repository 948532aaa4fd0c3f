"""What a benchmark's server scores: a zip of masks or a table of answers, written and then looked through.

Enters: answered questions. Leaves: `<top><video>/<exp_id>/<frame>.png`, one 8-bit grey picture of 0 and 255 for every
frame that the annotation file lists, in the size of the video (MeViS: no top folder; Refer-YouTube-VOS:
`Annotations/`). The same answers make the same bytes. (Engineering; no paper section.)
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from desa2va.processing.files import write_file

from .questions import FAILED, Answer, Question

_TOLD = ("index", "question", "A", "B", "C", "D", "category", "l2-category", "split")
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can tell


class MaskZip:
    """A zip of masks.

    Args:
        top: folder of all videos with its slash, or `""`.

    Attributes:
        file: its name in the folder of a run. counted: what `check` counts.
    """

    file, counted = "submission.zip", "pictures"

    def __init__(self, top: str) -> None:
        self.top = top

    def write(self, path: Path, answered: Iterable[tuple[Question, Answer]]) -> None:
        """Writes the zip: complete, or not at all.

        Args:
            path: of the zip. answered: every sample of the split.

        Raises:
            ValueError: masks of another size than the question's.
        """

        def write(temporary: Path) -> None:
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
                for question, answer in answered:
                    for name, mask in zip(self._names(question), answer.mask(question), strict=True):
                        buffer = io.BytesIO()
                        Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, format="PNG")
                        file.writestr(zipfile.ZipInfo(name, _MOMENT), buffer.getvalue())

        write_file(path, write, overwrite=True)

    def check(self, path: Path, questions: Iterable[Question]) -> int:
        """Looks through a zip as its server will.

        Args:
            path: of the zip. questions: every sample of the split.

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
                    for name in self._names(question):
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

    def _names(self, question: Question) -> Iterator[str]:
        video, expression = question.dialogue.ids["video"], question.dialogue.ids["exp_id"]
        return (f"{self.top}{video}/{expression}/{Path(path).stem}.png" for path in question.record.paths)


class AnswerTable:
    """A tab-separated table of answers, with the columns that MMBench's server reads.

    Attributes:
        file: its name in the folder of a run. counted: what `check` counts.
    """

    file, counted = "submission.tsv", "answers"

    def write(self, path: Path, answered: Iterable[tuple[Question, Answer]]) -> None:
        """Writes the table: complete, or not at all; `prediction` is what the model said, of a failed sample nothing.

        Args:
            path: of the table. answered: every sample of the split.
        """

        def write(temporary: Path) -> None:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, delimiter="\t", lineterminator="\n")
                table.writerow((*_TOLD, "prediction"))
                for question, answer in answered:
                    said = "" if answer.status == FAILED else answer.text
                    table.writerow((*(question.dialogue.ids.get(name, "") for name in _TOLD), said))

        write_file(path, write, overwrite=True)

    def check(self, path: Path, questions: Iterable[Question]) -> int:
        """Whether every question has one row.

        Returns:
            The number of rows.

        Raises:
            FileNotFoundError: no such file. ValueError: other rows than those of the questions, or other columns.
        """
        with path.open(encoding="utf-8", newline="") as file:
            names, *rows = list(csv.reader(file, delimiter="\t")) or [[]]
        if names != [*_TOLD, "prediction"]:
            raise ValueError(
                f"{path} has the columns {', '.join(names):.200}; they are {', '.join(_TOLD)}, prediction"
            )
        found, due = [row[0] for row in rows], [str(question.dialogue.ids["index"]) for question in questions]
        if found != due:
            raise ValueError(f"{path} has {len(found)} rows, not one for each of {len(due)} questions in their order")
        return len(found)


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


__all__ = ["AnswerTable", "MaskZip"]
