"""What lmms-eval reads when it starts: the name `desa2va` and the class behind it; nothing heavy is imported.

Enters: the entry point `lmms_eval.models`. Leaves: a `ModelManifest`. (Engineering; no paper section.)
"""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """The manifest of `--model desa2va`.

    Raises:
        ImportError: lmms-eval is not installed, or older than 0.6, which has no such registry.
    """
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id="desa2va", chat_class_path="desa2va.eval.harness.lmms_model.DeSa2VA")


__all__ = ["manifest"]
