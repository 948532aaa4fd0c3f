"""Readers of annotation files: one per family of formats, each from a folder to `Record`s."""

from .annotation_files import check_split
from .davis import read_davis_maps
from .finetune import read_finetune
from .kinds import KINDS, own_reader
from .osprey import CAPTION_REQUEST
from .plain_pickle import read_pickle
from .question_tables import QUESTION_GROUPS
from .revos import read_revos_foreground
from .shown_frames import FRAMES, shown_frames
from .status import Reader, Status, look
from .table import READERS
from .tables import RecordStream, TableRecords, read_table
from .video_mme import VIDEO_MME_GROUPS

__all__ = [
    "CAPTION_REQUEST",
    "FRAMES",
    "KINDS",
    "QUESTION_GROUPS",
    "READERS",
    "Reader",
    "RecordStream",
    "Status",
    "TableRecords",
    "VIDEO_MME_GROUPS",
    "check_split",
    "look",
    "own_reader",
    "read_davis_maps",
    "read_finetune",
    "read_pickle",
    "read_revos_foreground",
    "read_table",
    "shown_frames",
]
