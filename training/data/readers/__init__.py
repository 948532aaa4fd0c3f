"""Readers of annotation files: one per family of formats, each from a folder to `Record`s."""

from .annotation_files import check_split
from .davis import read_davis_maps
from .finetune import read_finetune
from .index_labels import index_codes
from .kinds import KINDS, own_reader
from .osprey import CAPTION_REQUEST
from .plain_pickle import read_pickle
from .question_rows import QUESTION_GROUPS
from .question_tables import HIDDEN
from .ref_sav import STRIDE, masklet_codes, read_masklet
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
    "HIDDEN",
    "QUESTION_GROUPS",
    "READERS",
    "Reader",
    "RecordStream",
    "STRIDE",
    "Status",
    "TableRecords",
    "VIDEO_MME_GROUPS",
    "check_split",
    "index_codes",
    "look",
    "masklet_codes",
    "own_reader",
    "read_davis_maps",
    "read_finetune",
    "read_masklet",
    "read_pickle",
    "read_revos_foreground",
    "read_table",
    "shown_frames",
]
