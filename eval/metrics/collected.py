"""What every metric here is: rows, one per sample, that processes can collect apart and compute together.

Rows of one process enter, rows of all leave; nothing is averaged before the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Collected:
    """A metric as the list of what its samples contributed.

    `compute` gives the same figures, bit for bit, whichever process collected which sample and in which order: counts
    are whole numbers and means are taken with exact sums.

    Attributes:
        rows: one tuple of plain values (numbers, strings, `None`) per sample. They survive JSON, so a run that was
            interrupted goes on with `rows.extend(saved)`.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def settings(self) -> dict[str, Any]:
        """The protocol and its numbers: what must agree before rows may be joined."""
        return {name: value for name, value in vars(self).items() if name != "rows"}

    def merge(self, *others: Collected) -> None:
        """Take over the rows of other processes.

        Raises:
            ValueError: another metric or another protocol.
        """
        for other in others:
            if type(other) is not type(self) or other.settings != self.settings:
                raise ValueError(
                    f"{type(other).__name__} with {other.settings} cannot be merged into {type(self).__name__} with "
                    f"{self.settings}; one run needs one protocol"
                )
        for other in others:
            self.rows.extend(other.rows)

    def columns(self) -> list[tuple[Any, ...]]:
        """The rows turned: one tuple of all samples per value.

        Raises:
            ValueError: no sample was added.
        """
        if not self.rows:
            raise ValueError(f"{type(self).__name__} has nothing to compute: no sample was added")
        return list(zip(*self.rows, strict=True))


def require_unique(kind: str, names: Iterable[Any]) -> None:
    """Refuse what was added twice, e.g. by two processes that padded their shares.

    Raises:
        ValueError: a name occurs more than once.
    """
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{kind} {name!r} was added more than once; each counts once")
        seen.add(name)


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """`value` if it is allowed.

    Raises:
        ValueError: it is not.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


__all__ = ["Collected", "one_of", "require_unique"]
