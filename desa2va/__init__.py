"""DeSa2VA: ask in words, get pixel masks in images and videos, and an answer in the same breath.

The public names are loaded on first use, so `import desa2va` stays cheap.
"""

from importlib import import_module
from pathlib import Path

from .errors import imports_named

__version__ = "0.1.0"

# In a checkout the rooms lie beside this folder; an installed package holds them inside (see setup.py).
_here = Path(__file__).resolve().parent
if not (_here / "modeling_desa2va").is_dir() and (_here.parent / "modeling_desa2va").is_dir():
    __path__.append(str(_here.parent))

_EXPORTS = {
    "DeSa2VAConfig": "desa2va.configuration.configuration_desa2va",
    "DeSa2VAConversation": "desa2va.modeling_desa2va.conversation",
    "DeSa2VAModel": "desa2va.modeling_desa2va.modeling_desa2va",
    "DeSa2VAProcessor": "desa2va.processing.processing_desa2va",
    "DeSa2VASession": "desa2va.modeling_desa2va.session",
    "SegmentationResult": "desa2va.processing.results",
    "convert_model": "desa2va.hub",
    "export_model": "desa2va.hub",
    "load": "desa2va.hub",
    "preset_config": "desa2va.configuration.presets",
}

# Using one of these registers all of them with transformers' Auto classes.
_REGISTERED = ("DeSa2VAConfig", "DeSa2VAModel", "DeSa2VAProcessor")

__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str):
    if name not in _EXPORTS:
        raise AttributeError(f"module 'desa2va' has no attribute {name!r}; it offers {sorted(_EXPORTS)}")
    with imports_named():
        if name in _REGISTERED:
            import_module("desa2va.auto")
        return getattr(import_module(_EXPORTS[name]), name)


def __dir__():
    return sorted({*globals(), *_EXPORTS})
