"""Encodings of pictures that are remembered from call to call, by their pixels (METHOD section 6, one encoding each).

Enters: pixels, as an encoder takes them. Leaves: what the encoder makes of them, from memory where these very pixels
were encoded before. A program that answers many questions opens a cache around its calls; everywhere else, and where
gradients are wanted, nothing is looked up and nothing is kept.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

# A context variable, as for the hooks: calls in other threads see no cache.
_CACHE: ContextVar[EncodingCache | None] = ContextVar("desa2va_encoding_cache", default=None)

# Rows (F, ...) of pixels to tensors with F rows each, in a fixed order.
Encode = Callable[[torch.Tensor], "list[torch.Tensor]"]


class EncodingCache:
    """The encodings used last, of one model whose weights do not change.

    Args:
        max_bytes: most that is kept, on the device they were made on; those not used for longest go first.

    Attributes:
        num_bytes: of all that is kept. encoded: pictures (InternVL: tiles) that went through an encoder. reused: those
            that did not have to.
    """

    def __init__(self, max_bytes: int = 2**30) -> None:
        self.max_bytes, self.num_bytes, self.encoded, self.reused = max_bytes, 0, 0, 0
        self._rows: OrderedDict[tuple[str, bytes], list[torch.Tensor]] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, and in this thread alone, encodings are looked up here and kept here."""
        token = _CACHE.set(self)
        try:
            yield
        finally:
            _CACHE.reset(token)

    def clear(self) -> None:
        """Forgets everything; the counts go on."""
        with self._lock:
            self._rows.clear()
            self.num_bytes = 0

    def encode(self, kind: str, pixels: torch.Tensor, encode: Encode) -> list[torch.Tensor]:
        """What `encode` makes of (F, ...) pixels; only rows that are not known go through it, equal ones once.

        Args:
            kind: of the encoder. pixels: any dtype and device. encode: see `Encode`.
        """
        keys = [(kind, _digest(row)) for row in pixels]
        found = {key: rows for key in keys if (rows := self._get(key)) is not None}
        missing = {key: place for place, key in reversed(list(enumerate(keys))) if key not in found}
        self.encoded += len(missing)
        self.reused += len(keys) - len(missing)
        if missing:
            made = encode(pixels[sorted(missing.values())])
            for row, key in enumerate(sorted(missing, key=missing.__getitem__)):
                # A row of a batch would hold the whole batch.
                found[key] = [part[row].clone() for part in made]
                self._put(key, found[key])
        return [torch.stack(parts) for parts in zip(*(found[key] for key in keys), strict=True)]

    def _get(self, key: tuple[str, bytes]) -> list[torch.Tensor] | None:
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
            return self._rows.get(key)

    def _put(self, key: tuple[str, bytes], rows: list[torch.Tensor]) -> None:
        size = _size(rows)
        if size > self.max_bytes:
            return
        with self._lock:
            self.num_bytes += size - _size(self._rows.pop(key, []))
            self._rows[key] = rows
            while self.num_bytes > self.max_bytes:
                self.num_bytes -= _size(self._rows.popitem(last=False)[1])


def encode_remembered(kind: str, pixels: torch.Tensor, encode: Encode) -> list[torch.Tensor]:
    """`EncodingCache.encode` of the cache that is open in this thread; plainly `encode` where none is, or where
    gradients are wanted.
    """
    cache = _CACHE.get()
    if cache is None or torch.is_grad_enabled() or not len(pixels):
        return encode(pixels)
    return cache.encode(kind, pixels, encode)


def _digest(row: torch.Tensor) -> bytes:
    """Of pixels, with their shape and dtype."""
    plain = row.detach().cpu().contiguous()
    about = f"{plain.dtype} {tuple(plain.shape)}".encode()
    return hashlib.blake2b(plain.view(torch.uint8).numpy(), digest_size=16, person=b"pixels", key=about[:64]).digest()


def _size(rows: list[torch.Tensor]) -> int:
    return sum(part.nbytes for part in rows)


__all__ = ["EncodingCache", "encode_remembered"]
