"""Small folders in the layouts of the published picture sets, written by hand."""

import io
import json
import pickle

import numpy as np
from PIL import Image

from desa2va.training.data.mask_codes import encode_mask
from desa2va.training.data.records import RecordError

SIZE = (48, 64)
SQUARE = [4.0, 4.0, 24.0, 4.0, 24.0, 24.0, 4.0, 24.0]
OTHER = [30.0, 10.0, 50.0, 10.0, 50.0, 40.0, 30.0, 40.0]


class _Python2(pickle._Pickler):
    """Writes texts as Python 2 wrote its byte strings, which no pickler of Python 3 does."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_text(self, text):
        content = text.encode("latin1")
        self.write(pickle.SHORT_BINSTRING + bytes([len(content)]) + content)

    dispatch[str] = save_text


def write_python2(path, content):
    stream = io.BytesIO()
    _Python2(stream, protocol=2).dump(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def picture(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(path)
    return path


def box_mask(x0, y0, x1, y1, size=SIZE):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def box_code(*box):
    return encode_mask(box_mask(*box))


def counts_of(mask):
    """The same mask as an uncompressed code."""
    flat = np.concatenate([[0], mask.flatten(order="F").astype(int), [2]])
    edges = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], edges])).tolist()
    return {"size": list(mask.shape), "counts": counts if not mask[0, 0] else [0, *counts[1:]]}


def split_items(items):
    """Records and problems of a reader."""
    items = list(items)
    problems = [item for item in items if isinstance(item, RecordError)]
    return [item for item in items if not isinstance(item, RecordError)], problems
