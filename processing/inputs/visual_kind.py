"""Is something a picture or a video?

In: anything a user hands over without saying which. Out: `"image"`, `"video"`, or `None` for what is neither. Of files
the beginning is read. (Engineering; no paper section.)
"""

from __future__ import annotations

import os
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from .decoder_source import is_decoder
from .download import is_url
from .frame_source import FrameSource
from .given_sources import is_file, is_picture, plain_source
from .image_loading import IMAGE_EXTENSIONS


def visual_kind(source: Any) -> str | None:
    """`"image"`, `"video"`, or `None`.

    An array with four dimensions, a folder, and a file or bytes that no picture begins with are videos, as are the
    decoders of torchcodec. Lists can be many pictures as well as one video, and are neither.
    """
    if isinstance(source, (str, bytes, bytearray, memoryview)) or is_file(source):
        source = plain_source(source, "the input")
    if isinstance(source, bytes):
        return "image" if is_picture(source) else "video"
    if isinstance(source, (str, os.PathLike)):
        return _kind_of_path(os.fspath(source))
    if isinstance(source, (np.ndarray, torch.Tensor)):
        return "video" if source.ndim == 4 else "image"
    if isinstance(source, Image.Image):
        return "image"
    return "video" if is_decoder(source) or isinstance(source, FrameSource) else None


def _kind_of_path(path: str) -> str:
    suffix = Path(urllib.parse.urlsplit(path).path if is_url(path) else path).suffix.lower()
    if suffix in IMAGE_EXTENSIONS or (is_url(path) and not suffix):
        return "image"
    if not os.path.isfile(path):
        return "video"
    with open(path, "rb") as file:
        return "image" if is_picture(file.read(4096)) else "video"


__all__ = ["visual_kind"]
