"""What the language model says: generation, the states of its `[SEG]` tokens, vision shared between sequences."""

from .answers import Answer, LanguageAnswerMixin
from .generation import TASKS
from .shared_vision import shared_images

__all__ = ["Answer", "LanguageAnswerMixin", "TASKS", "shared_images"]
