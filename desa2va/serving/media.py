"""Pictures and videos of requests: content first, and a file or an address only where the service allows it.

What enters: the text of a request's field. What leaves: an opened picture or video within the limits, or a
`ValueError` that tells the client what would be right. (Engineering; no paper section.)
"""

from __future__ import annotations

import base64
import binascii
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.processing.inputs import download, image_size, load_image, open_visual

from .limits import Limits

_ADDRESSES = ("http://", "https://")


def read_picture(text: str, limits: Limits) -> np.ndarray:
    """The picture of a request, uint8 (H, W, 3).

    Args:
        text: base64 or a data: address of an encoded picture; `file:NAME` below `limits.files`, or an http(s) address,
            where these are allowed.

    Raises:
        ValueError: anything else, or a picture beyond the limits.
    """
    data = _content(text, "image", limits)
    check_picture(data, limits)
    return load_image(data, "image")


def open_video(text: str, limits: Limits) -> Any:
    """The video of a request, a `FrameSource`; arguments and errors as `read_picture`."""
    return opened_video(_content(text, "video", limits), "video", limits)


def opened_video(content: bytes, name: str, limits: Limits) -> Any:
    """The `FrameSource` of an encoded video, which errors call `name`; `ValueError` where it is none, or beyond the
    limits.
    """
    source = open_visual(content, name)
    _check_pixels("video", source.height, source.width, limits)
    if len(source) > limits.frames:
        raise ValueError(f"video: {len(source)} frames, and at most {limits.frames} are taken; send a shorter one")
    return source


def check_picture(picture: Any, limits: Limits) -> None:
    """Raises `ValueError` for a picture, encoded or as a path, of more pixels than granted; decodes nothing."""
    height, width = image_size(picture)
    _check_pixels("image", height, width, limits)


def _check_pixels(name: str, height: int, width: int, limits: Limits) -> None:
    if height * width > limits.pixels:
        raise ValueError(f"{name}: {width} x {height} pixels, and at most {limits.pixels} are taken; make it smaller")


def _content(text: str, name: str, limits: Limits) -> bytes:
    start = text[:8].lower()
    if start.startswith(_ADDRESSES):
        return _download(text, name, limits)
    if start.startswith("file:"):
        return _read_file(text[5:], name, limits)
    if start.startswith("data:"):
        header, comma, text = text.partition(",")
        if not comma or not header.lower().endswith(";base64"):
            raise ValueError(f"{name}: a data: address has its content as base64, data:image/png;base64,...")
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{name}: not base64 ({error}); send the content of the file as base64") from error
    if not data:
        raise ValueError(f"{name}: is empty; send the content of the file as base64")
    return data


def _download(url: str, name: str, limits: Limits) -> bytes:
    if not limits.urls:
        raise ValueError(f"{name}: addresses are not read here (--allow-urls allows them); send the content as base64")
    target = io.BytesIO()
    download(url, target, limits.body_bytes)
    return target.getvalue()


def _read_file(file: str, name: str, limits: Limits) -> bytes:
    if limits.files is None:
        raise ValueError(f"{name}: files are not read here (--files allows a folder); send the content as base64")
    root = os.path.realpath(limits.files)
    # Links are followed first, so that none leads out of the folder.
    path = os.path.realpath(os.path.join(root, file.replace("\0", "/")))
    if "\0" in file or not path.startswith(os.path.join(root, "")) or not os.path.isfile(path):
        raise ValueError(f"{name}: there is no such file in the folder that this service reads")
    if os.path.getsize(path) > limits.body_bytes:
        raise ValueError(f"{name}: the file is larger than {limits.body_bytes} bytes")
    return Path(path).read_bytes()


__all__ = ["check_picture", "open_video", "opened_video", "read_picture"]
