"""Pickled annotation files, read without trusting them.

Enters: a pickle of any protocol, also of Python 2 and of numpy 1 or 2. Leaves: lists, dictionaries, texts, bytes,
numbers, numpy arrays of these. A pickle is a program: whatever else it wants to call is an error that names the file
and what it asked for. (Data safety; no paper section.)
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from desa2va.training.data.records import RecordError

_KINDS = "biufcSU"  # bool, integers, floats, complex, bytes, texts
_BUILTINS = (set, frozenset, bytearray, complex)


class _PlainType:
    """Stands for a numpy data type while its pickle is read; never one of objects or fields."""

    def __init__(self, code: str, *_: Any) -> None:
        self.dtype = np.dtype(_text(code))
        if self.dtype.kind not in _KINDS:
            raise pickle.UnpicklingError(f"an array of data type {code!r:.40}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if _text(state[1]) in "<>":
            self.dtype = self.dtype.newbyteorder(_text(state[1]))
        if any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("an array with fields")


class _PlainArray(np.ndarray):
    """An array whose state is checked before numpy sees it."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        content = _bytes(content)
        if not isinstance(kind, _PlainType) or len(content) != kind.dtype.itemsize * int(np.prod(shape, dtype=object)):
            raise pickle.UnpicklingError("an array whose content does not fill it")
        super().__setstate__((1, shape, kind.dtype, bool(fortran), content))


def _new_array(owner: type, *_: Any) -> np.ndarray:
    if owner is not _PlainArray:
        raise pickle.UnpicklingError("an array of another class")
    return np.empty(0, np.uint8).view(_PlainArray)


def _scalar(kind: _PlainType, content: Any) -> Any:
    return np.frombuffer(_bytes(content), kind.dtype, count=1)[0]


def _from_buffer(content: Any, kind: _PlainType, shape: tuple[int, ...], order: str = "C") -> np.ndarray:
    """An array as protocol 5 writes it."""
    return np.frombuffer(_bytes(content), kind.dtype).reshape(shape, order=order)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes into old protocols."""
    return text.encode("latin1") if _text(encoding) in ("latin1", "latin-1") else text.encode("utf-8")


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _bytes(value: Any) -> bytes:
    return value.encode("latin1") if isinstance(value, str) else bytes(value)


_NUMPY = {"_reconstruct": _new_array, "scalar": _scalar}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _PlainArray,
    ("numpy", "dtype"): _PlainType,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): dict,
    **{(f"numpy.{core}.multiarray", name): made for core in ("core", "_core") for name, made in _NUMPY.items()},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    **{(module, made.__name__): made for module in ("builtins", "__builtin__") for made in _BUILTINS},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"a call of {module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"a reference to something outside the file ({pid!r:.40})")


def read_pickle(path: str | os.PathLike) -> Any:
    """The content of a pickled annotation file. Texts of Python 2 are read as Latin-1.

    Raises:
        FileNotFoundError: no such file. RecordError: it wants to call something, or is no pickle.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no annotation file {path}")
    with path.open("rb") as file:
        try:
            return _Unpickler(file, encoding="latin1").load()
        except pickle.UnpicklingError as error:
            told = (
                "an annotation file holds lists, dictionaries, texts, numbers and arrays alone, but this pickle holds "
                f"{error}; nothing of it was run, do not use it"
            )
            raise RecordError(str(path), "content", told) from error
        except Exception as error:  # broken streams raise nearly anything
            told = f"no whole pickle ({type(error).__name__}: {error})"
            raise RecordError(str(path), "content", told) from error


__all__ = ["read_pickle"]
