"""Readers of annotation files: one per family of formats, each from a folder to `Record`s."""

from .finetune import default_root, read_finetune
from .plain_pickle import read_pickle
from .status import Reader, Status, look
from .table import READERS

__all__ = ["READERS", "Reader", "Status", "default_root", "look", "read_finetune", "read_pickle"]
