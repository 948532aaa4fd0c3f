"""Published checkpoints, read as models of this package while they are loaded. Never exported to the Hub."""

from .checkpoint import read_json_object
from .language import LANGUAGE_TYPES
from .pair_processor import pair_processor
from .parts import load_pair
from .sa2va import load_sa2va
from .sa2va_config import SA2VA_MODEL_TYPE
from .sa2va_processor import sa2va_processor, sa2va_tokenizer
from .sam2 import load_sam2
from .tokens import read_tokenizer

__all__ = [
    "LANGUAGE_TYPES",
    "SA2VA_MODEL_TYPE",
    "load_pair",
    "load_sa2va",
    "load_sam2",
    "pair_processor",
    "read_json_object",
    "read_tokenizer",
    "sa2va_processor",
    "sa2va_tokenizer",
]
