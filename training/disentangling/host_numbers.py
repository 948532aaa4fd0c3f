"""Single numbers of a module that the host knows too: to read one from a device waits for all that was asked of it.

What enters: whole or exact numbers that the host itself has counted, e.g. rows. What leaves: the same, without asking
the device. The buffers that belong to the state dict are written along. (Engineering; no paper section.)
"""

from typing import Any

from torch import nn


class HostNumbers(nn.Module):
    """A module with buffers of one number each, which are written by `tell` alone and read by `known`."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[str, float] = {}

    def known(self, name: str) -> float:
        """The number in buffer `name`; the device is asked the first time, and after a state dict was loaded."""
        if name not in self._numbers:
            self._numbers[name] = getattr(self, name).item()
        return self._numbers[name]

    def tell(self, name: str, value: float) -> None:
        """Writes a number that the host knows into buffer `name`."""
        getattr(self, name).fill_(value)
        self._numbers[name] = value

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._numbers.clear()


__all__ = ["HostNumbers"]
