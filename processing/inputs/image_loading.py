"""Any picture a user may hand over to one RGB array, or one clear error.

In: a `PIL.Image`, an array or tensor with its channels first or last, a path, an address, bytes, an open file (see
`given_sources`). Out: uint8 `(H, W, 3)`.
Paper section 3.1 (input pictures). What is done, and always the same way:

* the EXIF orientation is applied (a broken EXIF block warns and counts as upright); of an animated picture the first
  frame is taken;
* transparency is laid over white;
* grey, palette, CMYK and YCbCr become RGB; 16-bit values are divided by 257; float arrays must lie in [0, 1];
* a truncated, broken, empty or decompression-bomb file is a `ValueError` that names it.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from .download import download, is_url
from .given_sources import plain_source, shown_source

IMAGE_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
CHANNELS = (1, 3, 4)
URL_MAX_BYTES = 256 * 1024 * 1024
# What a rotation by EXIF's number means; 1 and anything unknown: upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(source: Any, name: str = "image") -> np.ndarray:
    """Loads one picture.

    Args:
        source: `PIL.Image`; numpy or torch `(H, W)`, `(H, W, 1 | 3 | 4)` or `(1 | 3 | 4, H, W)` (where both fit,
            channels are last in numpy and first in torch); path; or anything `plain_source` takes: http(s), file://
            and data: addresses, base64, bytes, open binary files, cells of `datasets`.
        name: how errors call it, e.g. `"images[2]"`.

    Returns:
        uint8 `(H, W, 3)`, own memory.

    Raises:
        FileNotFoundError: no file at the path.
        ValueError: the picture is empty, broken, too large, or of values or a shape without one meaning.
        TypeError: the source is none of the kinds above.
    """
    source = plain_source(source, name)
    if isinstance(source, Image.Image):
        return _from_pil(source, name)
    if isinstance(source, bytes):
        return _from_pil(_open(source, f"{name} ({len(source)} bytes)"), f"{name} ({len(source)} bytes)")
    if isinstance(source, np.ndarray):
        return _from_array(source, name)
    if isinstance(source, torch.Tensor):
        return _from_tensor(source, name)
    if isinstance(source, (str, os.PathLike)):
        label = f"{name} ({shown_source(source)})"
        return _from_pil(_open(source, label), label)
    raise TypeError(
        f"{name}: expected a PIL image, array, tensor, path, address, bytes or open file, got {type(source).__name__}"
    )


def image_size(source: str | os.PathLike | bytes) -> tuple[int, int]:
    """Height and width of a picture file, or of its content, after EXIF rotation, read from its header.

    Raises:
        ValueError: the header can not be read.
    """
    label = f"a picture of {len(source)} bytes" if isinstance(source, bytes) else os.fspath(source)
    with _open(source, label) as image:
        width, height = image.size
        rotated = _orientation(image, label) in (5, 6, 7, 8)
    return (width, height) if rotated else (height, width)


def _orientation(image: Image.Image, label: str) -> int:
    """EXIF's number of the rotation, 1 where there is none; a block that can not be read warns and counts as none."""
    # Asked for the EXIF of a PNG without one, PIL decodes the whole picture to look behind its pixels.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        found = image.getexif().get(0x0112, 1)
    except Exception as error:  # PIL's parsers raise whatever a broken block makes them stumble over
        warnings.warn(f"{label}: its EXIF block can not be read ({error}); taken as upright", stacklevel=2)
        return 1
    return found if isinstance(found, int) else 1


def _open(source: str | os.PathLike | bytes, label: str) -> Image.Image:
    """Opens a file, an address or bytes; nothing but the header is decoded."""
    if isinstance(source, bytes):
        stream: Any = io.BytesIO(source)
    elif is_url(source):
        stream = io.BytesIO()
        download(str(source), stream, URL_MAX_BYTES, label)
        stream.seek(0)
    else:
        stream = Path(source)
        if not os.path.isfile(stream):
            raise FileNotFoundError(f"{label}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(stream)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{label}: more than {Image.MAX_IMAGE_PIXELS} pixels, refused as a possible decompression bomb; "
            "raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file"
        ) from error
    except Exception as error:  # PIL's parsers raise whatever a broken file makes them stumble over
        if isinstance(error, PermissionError):
            raise
        reason = "of no format that PIL knows" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(f"{label}: not a picture that can be read ({reason})") from error


def _from_pil(image: Image.Image, label: str) -> np.ndarray:
    """RGB array of a PIL image of any mode."""
    if 0 in image.size:
        raise ValueError(f"{label}: the picture is empty, its size is {image.size[0]} x {image.size[1]}")
    try:
        image.load()
        turn = _UPRIGHT.get(_orientation(image, label))
        image = image if turn is None else image.transpose(turn)
        if image.mode == "F" or image.mode.startswith("I"):
            return _from_array(_deep_values(np.asarray(image), label), label)
        if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image)
        return np.array(image.convert("RGB"), dtype=np.uint8)
    except (MemoryError, Warning):  # a warning that is to be an error is not one of the decoder
        raise
    except Exception as error:  # PIL's decoders raise whatever a broken file makes them stumble over
        raise ValueError(f"{label}: the picture is truncated or broken ({error})") from error


def _deep_values(values: np.ndarray, label: str) -> np.ndarray:
    """16- and 32-bit grey values as uint16, uint8 or float in [0, 1], by the range they use."""
    if values.dtype.kind == "f":
        return values if values.max() <= 1 else values / 255
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"integer values from {low} to {high} do not fit 16 bits")
    sixteen_bit = values.dtype.itemsize == 2 or high > 255
    return values.astype(np.uint16 if sixteen_bit else np.uint8)


def _from_tensor(tensor: torch.Tensor, name: str) -> np.ndarray:
    """RGB array of a tensor, channels first where that fits."""
    values = tensor.detach().cpu()
    values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    if values.ndim == 3 and values.shape[0] in CHANNELS:
        values = values.permute(1, 2, 0)
    return _from_array(values.numpy(), name)


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    """RGB array of an array, channels last where that fits."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim == 3 and array.shape[0] in CHANNELS and array.shape[-1] not in CHANNELS:
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or (array.shape[-1] not in CHANNELS and array.size):
        raise ValueError(
            f"{name}: a picture must be (H, W), (H, W, 1 | 3 | 4) or (1 | 3 | 4, H, W), got shape {array.shape}"
        )
    if 0 in array.shape:
        raise ValueError(f"{name}: the picture is empty, its shape is {array.shape}")
    array = _to_uint8(array, name)
    if array.shape[-1] == 4:
        alpha = array[..., 3:].astype(np.float32) / 255
        array = np.rint(array[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    if array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=-1)
    return np.array(array, dtype=np.uint8, order="C")


def _to_uint8(array: np.ndarray, name: str) -> np.ndarray:
    """Values of any numeric type as uint8."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        return np.rint(array / 257).astype(np.uint8)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name}: values of type {array.dtype} are no picture")
    low, high = float(array.min()), float(array.max())
    limit = 1 if array.dtype.kind == "f" else 255
    if not (low >= 0 and high <= limit):
        raise ValueError(
            f"{name}: {array.dtype} values must lie in [0, {limit}], got [{low:g}, {high:g}]; scale them or pass uint8"
        )
    return np.rint(array * 255).astype(np.uint8) if array.dtype.kind == "f" else array.astype(np.uint8)


__all__ = ["IMAGE_EXTENSIONS", "image_size", "load_image"]
