"""What the language model says: generation, the states of its `[SEG]` tokens, vision shared between sequences."""

from .answers import VISION_INPUTS, Answer, LanguageAnswerMixin
from .generation_settings import generation_settings
from .read_tokens import ReadTokens
from .shared_vision import shared_images

__all__ = [
    "Answer",
    "LanguageAnswerMixin",
    "ReadTokens",
    "VISION_INPUTS",
    "generation_settings",
    "shared_images",
]
