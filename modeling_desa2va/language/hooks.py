"""Hooks on modules that several threads share.

Enters: a module and a function. Leaves: the module with the function as a hook that stays. Adding and removing hooks
around a call would change a module while another thread runs it, and let one call see the other's tensors; so a hook
is put on once, and asks a context variable whether the call it runs in wants anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import nn

_LOCK = threading.Lock()


def hook_once(module: nn.Module, hook: Callable, kind: str, **options: Any) -> None:
    """Puts a hook on a module unless it is there already.

    Args:
        module: of any kind. hook: a function of a module file, so that copies of the model keep it.
        kind: `"forward"` or `"forward_pre"`. options: of `register_forward_hook` or `register_forward_pre_hook`.
    """
    with _LOCK:
        if hook not in getattr(module, f"_{kind}_hooks").values():
            getattr(module, f"register_{kind}_hook")(hook, **options)


__all__ = ["hook_once"]
