"""Published checkpoints, read as models of this package while they are loaded. Never exported to the Hub."""

from .sa2va import load_sa2va
from .sa2va_processor import sa2va_processor

__all__ = ["load_sa2va", "sa2va_processor"]
