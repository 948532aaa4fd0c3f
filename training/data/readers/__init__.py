"""Readers of annotation files: one per family of formats, each from a folder to `Record`s."""

from .plain_pickle import read_pickle
from .status import Reader, Status, look
from .table import READERS

__all__ = ["READERS", "Reader", "Status", "look", "read_pickle"]
