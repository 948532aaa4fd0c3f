"""Encodings of pictures that are remembered from call to call, by their pixels (METHOD section 6, one encoding each).

Enters: pixels, as an encoder takes them. Leaves: what the encoder makes of them, from memory where these very pixels
were encoded before. A program that answers many questions opens a cache around its calls; everywhere else, and where
gradients are wanted, nothing is looked up and nothing is kept.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch

# A context variable, as for the hooks: calls in other threads see no cache.
_CACHE: ContextVar[EncodingCache | None] = ContextVar("desa2va_encoding_cache", default=None)

# Numbers of pieces to the tensors that each is encoded to, in a fixed order.
Make = Callable[["list[int]"], "list[list[torch.Tensor]]"]


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

    def encode(self, kinds: Sequence[str], pieces: Sequence[torch.Tensor], make: Make) -> list[list[torch.Tensor]]:
        """For each piece the tensors it is encoded to; only those that are not known are made, equal ones once.

        Args:
            kinds: of each piece the encoder, and what else its encoding depends on. pieces: pixels of any dtype and
                device. make: see `Make`.
        """
        keys = [(kind, _digest(piece)) for kind, piece in zip(kinds, pieces, strict=True)]
        found = {key: parts for key in keys if (parts := self._get(key)) is not None}
        missing = {key: place for place, key in reversed(list(enumerate(keys))) if key not in found}
        places = sorted(missing.values())
        self.encoded += len(places)
        self.reused += len(keys) - len(places)
        for place, parts in zip(places, make(places) if places else [], strict=True):
            # A part of a batch would hold the whole batch.
            found[keys[place]] = [part.clone() for part in parts]
            self._put(keys[place], found[keys[place]])
        return [found[key] for key in keys]

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


def open_cache() -> EncodingCache | None:
    """The cache that is open in this thread; `None` where none is, or where gradients are wanted."""
    return None if torch.is_grad_enabled() else _CACHE.get()


def encode_remembered(
    kind: str, pixels: torch.Tensor, encode: Callable[[torch.Tensor], list[torch.Tensor]]
) -> list[torch.Tensor]:
    """`encode(pixels)`, through the open cache where there is one.

    Args:
        kind: of the encoder. pixels: (F, ...). encode: gives tensors with as many rows as the pixels it is given.
    """
    cache = open_cache()
    if cache is None or not len(pixels):
        return encode(pixels)

    # Slices and `cat` keep the memory format, where indices and `stack` do not: in another one convolutions round
    # otherwise, and the same picture would have other masks the second time.
    def make(places: list[int]) -> list[list[torch.Tensor]]:
        made = encode(pixels[places])
        return [[part[row : row + 1] for part in made] for row in range(len(places))]

    return [torch.cat(parts) for parts in zip(*cache.encode([kind] * len(pixels), pixels, make), strict=True)]


def _digest(row: torch.Tensor) -> bytes:
    """Of pixels, with their shape and dtype."""
    plain = row.detach().cpu().contiguous()
    about = f"{plain.dtype} {tuple(plain.shape)}".encode()
    return hashlib.blake2b(plain.view(torch.uint8).numpy(), digest_size=16, person=b"pixels", key=about[:64]).digest()


def _size(rows: list[torch.Tensor]) -> int:
    return sum(part.nbytes for part in rows)


__all__ = ["EncodingCache", "encode_remembered", "open_cache"]
