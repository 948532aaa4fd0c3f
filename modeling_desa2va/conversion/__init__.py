"""Published checkpoints, read as models of this package while they are loaded. Never exported to the Hub."""

from .language import LANGUAGE_TYPES, open_language
from .loading import no_load_report
from .parts import load_pair
from .sa2va import load_sa2va
from .sa2va_config import SA2VA_MODEL_TYPE
from .sa2va_processor import sa2va_processor
from .sam2 import load_sam2
from .tokens import add_segmentation_tokens

__all__ = [
    "LANGUAGE_TYPES",
    "SA2VA_MODEL_TYPE",
    "add_segmentation_tokens",
    "load_pair",
    "load_sa2va",
    "load_sam2",
    "no_load_report",
    "open_language",
    "sa2va_processor",
]
