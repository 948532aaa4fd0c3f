"""The many ways in which a picture or video is handed over, reduced to a few; and how such values are named in errors.

In: paths, addresses, `data:` URIs, base64, bytes, open files, cells of `datasets` and parts of messages. Out: a path,
an address, bytes, or the object itself where it already is a picture or video (paper section 3.1). Values of a user
can be long: errors show a shortened form, never a whole base64 or picture.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import reprlib
import urllib.parse
import urllib.request
from typing import Any

import numpy as np
import torch
from PIL import Image

from .download import is_url, shown_url

# Keys under which a part of a message or a cell of a data set holds its picture or video.
SOURCE_KEYS = ("bytes", "path", "url", "base64", "image", "video", "image_url", "video_url")

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
# A longer text in the letters of base64 that is no file is taken for base64, whatever it holds; a shorter one for a
# path, unless it holds a picture.
_LONGEST_PATH = 255


class _ShortRepr(reprlib.Repr):
    """`reprlib` that knows bytes and arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 60
        self.maxlist = self.maxtuple = self.maxdict = 4
        self.maxlevel = 3

    def repr1(self, value: Any, level: int) -> str:
        """One value; large ones are described and not printed."""
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"<{len(value)} bytes>"
        if isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim:
            return f"<{type(value).__name__} of shape {tuple(value.shape)}>"
        return super().repr1(value, level)


def shown(value: Any) -> str:
    """The `repr` of any value, short enough for one line of an error."""
    return _ShortRepr().repr(value)


def shown_source(source: str | os.PathLike, limit: int = 160) -> str:
    """The name of a file, or an address without what may be secret in it, as errors and results show it: cut in the
    middle where it is long, of a `data:` address only its type.
    """
    text = os.fspath(source)
    if is_url(text):
        text = shown_url(text)
    elif text[:5].lower() == "data:":
        return f"{text[:60].split(',')[0]},... of {len(text)} characters"
    return text if len(text) <= limit else f"{text[: limit - 40]}...{text[-30:]} ({len(text)} characters)"


def plain_source(source: Any, name: str) -> Any:
    """One picture or video in one of few forms.

    Args:
        source: anything a user may hand over.
        name: how errors call it.

    Returns:
        A path or http(s) address (`str` or `os.PathLike`), `bytes` of an encoded picture or video, or `source` itself.

    Raises:
        ValueError: a form that is recognised but can not be read: broken base64, an address of an unknown scheme, a
            dictionary without or with several sources, a file opened as text or closed.
    """
    if isinstance(source, dict):
        found = source_of(source, name)
        if found is None or isinstance(found, dict):
            raise ValueError(f"{name}: a dictionary holds one of {', '.join(SOURCE_KEYS)}, got {shown(source)}")
        source = found
    if isinstance(source, str):
        return _plain_text(source, name)
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    if is_file(source):
        return _read_file(source, name)
    return source


def source_of(entries: dict[str, Any], name: str) -> Any:
    """The source in a part of a message or a cell; `None` where there is none. `bytes` and `path` may come together.

    Raises:
        ValueError: several sources.
    """
    found = {key: entries[key] for key in SOURCE_KEYS if entries.get(key) is not None}
    if set(found) == {"bytes", "path"}:
        return found["bytes"]
    if len(found) > 1:
        raise ValueError(f"{name}: gives {' and '.join(found)}; give one of them")
    if "base64" in found and isinstance(found["base64"], str):
        text = found["base64"]
        return text if text[:5].lower() == "data:" else _decoded(text, f"{name}: base64")
    return next(iter(found.values()), None)


def _plain_text(text: str, name: str) -> str | bytes:
    """A path or http(s) address as it is; what else a text can hold decoded."""
    start = text[:8].lower()
    if start.startswith("data:"):
        return _data_uri(text, name)
    if start.startswith(("http://", "https://")) or os.path.exists(text):
        return text
    if start.startswith("file://"):
        address = urllib.parse.urlsplit(text)
        if address.netloc not in ("", "localhost"):
            raise ValueError(f"{name} ({shown_source(text)}): a file:// address of another machine can not be opened")
        return urllib.request.url2pathname(address.path)
    if scheme := _SCHEME.match(text):
        raise ValueError(
            f"{name} ({shown_source(text)}): addresses that begin with {scheme[1]}:// are not read; give a path, "
            "bytes, or an http://, https://, file:// or data: address"
        )
    return _maybe_base64(text)


def _maybe_base64(text: str) -> str | bytes:
    """The bytes of a text that can be nothing but base64; else the text, which then is a path."""
    if not _BASE64.fullmatch(compact := "".join(text.split())):
        return text
    try:
        data = _decoded(compact, "")
    except ValueError:
        return text
    return data if len(compact) > _LONGEST_PATH or is_picture(data) else text


def _decoded(text: str, name: str) -> bytes:
    """The bytes of base64 in either alphabet, with or without its padding."""
    compact = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{name} of {len(text)} characters can not be decoded ({error})") from error


def _data_uri(text: str, name: str) -> bytes:
    header, comma, payload = text.partition(",")
    if not comma:
        raise ValueError(f"{name}: a data: address has a comma before its content, got {shown_source(text)}")
    if header.lower().endswith(";base64"):
        return _decoded(urllib.parse.unquote(payload), f"{name}: the base64 in {shown_source(text)}")
    return urllib.parse.unquote_to_bytes(payload)


def is_file(source: Any) -> bool:
    """Whether an object is an open file."""
    return isinstance(source, io.IOBase) or (hasattr(source, "read") and hasattr(source, "seekable"))


def _read_file(file: Any, name: str) -> bytes:
    """The whole content of an open file, from its beginning where that can be reached."""
    try:
        if file.seekable():
            file.seek(0)
        data = file.read()
    except (OSError, ValueError) as error:
        raise ValueError(f"{name}: the open file can not be read ({error})") from error
    if not isinstance(data, (bytes, bytearray)):
        raise ValueError(f"{name}: the file is opened as text; open it with mode 'rb'")
    return bytes(data)


def is_picture(data: bytes) -> bool:
    """Whether bytes begin like a picture that PIL knows."""
    try:
        with Image.open(io.BytesIO(data)):
            return True
    except Exception:  # PIL raises many kinds for bytes that are no picture
        return False


__all__ = ["SOURCE_KEYS", "is_file", "is_picture", "plain_source", "shown", "shown_source", "source_of"]
