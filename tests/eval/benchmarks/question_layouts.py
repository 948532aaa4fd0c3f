"""Small tables in the layout of the published question sets, and answers in words."""

import base64
import csv
import io

import numpy as np
from PIL import Image

from desa2va.eval.benchmarks.questions import Answer


def picture_bytes(shade, size=(48, 64)):
    """A grey PNG."""
    stream = io.BytesIO()
    noise = np.random.default_rng(shade).integers(0, 40, (*size, 3))
    Image.fromarray((noise + shade).astype(np.uint8)).save(stream, "png")
    return stream.getvalue()


def picture_cell(shade, size=(48, 64)):
    """The same as the tables hold it: base64, thousands of characters."""
    return base64.b64encode(picture_bytes(shade, size)).decode()


def write_tsv(path, rows):
    """A table as pandas writes it: columns of all rows in their order, an empty cell where a row has none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row.get(name, "") for name in columns] for row in rows)
    return path


def choice(index, image, answer, question="What colour?", options=("red", "blue"), **more):
    """A row of multiple choice."""
    letters = dict(zip("ABCDEFGHI", options, strict=False))
    return {"index": index, "image": image, "question": question, **letters, "answer": answer, **more}


def says(**answers):
    """Answers in words by the id of their question (`q12`: 12)."""
    return {key.removeprefix("q"): Answer("no_seg_token", "no [SEG]", text) for key, text in answers.items()}
