"""Published checkpoints, read as models of this package while they are loaded. Never exported to the Hub."""

from .sa2va import load_sa2va

__all__ = ["load_sa2va"]
