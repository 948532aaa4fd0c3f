"""RefShapes: textured shapes with exact masks, questions, videos; drawn on the fly or written to disk."""

from .corruption import CORRUPTIONS, corrupt
from .dataset import PICTURE_KINDS, VERSION, VIDEO_KINDS, RefShapes
from .disk import DEFAULT_SPLITS, write_refshapes
from .language import SINGLE_ANSWER, Expression, vocabulary_corpus
from .questions import CAPTION_REQUEST
from .scene import COLOR_NAMES, COLORS, SHAPES, SIZES

__all__ = [
    "CAPTION_REQUEST",
    "COLORS",
    "CORRUPTIONS",
    "COLOR_NAMES",
    "DEFAULT_SPLITS",
    "Expression",
    "PICTURE_KINDS",
    "RefShapes",
    "SHAPES",
    "SINGLE_ANSWER",
    "SIZES",
    "VERSION",
    "VIDEO_KINDS",
    "corrupt",
    "vocabulary_corpus",
    "write_refshapes",
]
