"""The published sets by the names that the command line and configurations use."""

from __future__ import annotations

from .status import Reader

READERS: dict[str, Reader] = {}

__all__ = ["READERS"]
