"""RefShapes: textured shapes with exact masks, questions, videos; drawn on the fly or written to disk."""

from .corruption import CORRUPTIONS, corrupt
from .dataset import PICTURE_KINDS, VERSION, VIDEO_KINDS, RefShapes
from .disk import DEFAULT_SPLITS, write_refshapes
from .kinds import LATER_KINDS
from .language import SINGLE_ANSWER, Expression, later_words, vocabulary_corpus
from .questions import CAPTION_REQUEST
from .scene import COLOR_NAMES, COLORS, MOTIONS, SHAPES, SIZES

__all__ = [
    "CAPTION_REQUEST",
    "COLORS",
    "CORRUPTIONS",
    "COLOR_NAMES",
    "DEFAULT_SPLITS",
    "Expression",
    "LATER_KINDS",
    "MOTIONS",
    "PICTURE_KINDS",
    "RefShapes",
    "SHAPES",
    "SINGLE_ANSWER",
    "SIZES",
    "VERSION",
    "VIDEO_KINDS",
    "corrupt",
    "later_words",
    "vocabulary_corpus",
    "write_refshapes",
]
