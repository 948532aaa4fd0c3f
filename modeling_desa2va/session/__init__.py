"""Interactive video segmentation: words, clicks and corrections on one video, both ways, undo, save and resume."""

from .file import read_session
from .session import DeSa2VASession

__all__ = ["DeSa2VASession", "read_session"]
