"""Masks as pictures of object numbers: a palette PNG enters, its numbers leave, one code per object.

The numbers are read as they are stored, never as colours or luminance. (Paper section 4: video object segmentation.)
"""

from __future__ import annotations

import io
import os
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from desa2va.processing.files import Code, encode_mask

_MODES = ("P", "L", "1", "I;16", "I")


def read_indices(source: str | os.PathLike | bytes) -> np.ndarray:
    """The object numbers of a mask picture: integers `(H, W)`, 0 for none.

    Args:
        source: a file, or its content.

    Raises:
        FileNotFoundError: no such file. ValueError: a picture of colours, or none.
    """
    is_bytes = isinstance(source, bytes)
    name = f"a mask of {len(source)} bytes" if is_bytes else os.fspath(source)
    try:
        with Image.open(io.BytesIO(source) if is_bytes else source) as image:
            mode, numbers = image.mode, np.asarray(image)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no mask {name}") from error
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise ValueError(f"{name}: no mask that can be read ({error})") from error
    if mode not in _MODES:
        raise ValueError(
            f"{name} holds colours (mode {mode}); a mask is an indexed PNG (mode P) or grey (L), whose values are the "
            "numbers of the objects"
        )
    return numbers.astype(np.int32)


@lru_cache(maxsize=4)  # the rows of one picture follow one another
def mask_codes(path: str) -> tuple[tuple[int, int], dict[int, Code]]:
    """(height, width) of a mask picture and the code of every number in it but 0."""
    return indices_to_codes(read_indices(path))


def indices_to_codes(numbers: np.ndarray) -> tuple[tuple[int, int], dict[int, Any]]:
    """(height, width) of integers `(H, W)`, and the code of every number but 0."""
    found = [int(number) for number in np.unique(numbers) if number]
    return (numbers.shape[0], numbers.shape[1]), {number: encode_mask(numbers == number) for number in found}


__all__ = ["indices_to_codes", "mask_codes", "read_indices"]
