"""What a checkpoint need not hold: weights that a stage left as it found them.

Enters: the model a stage begins with, as its folder or Hub id gave it. Leaves: a digest of every weight. A checkpoint
holds what differs from them and their digests; whoever goes on from it is told where the start is another one.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import torch
from torch import nn

START_FILE = "start.json"
# How peft's layers call the weight they wrap.
_WRAPPED = re.compile(r"\.(token_adapter|base_layer)(?=\.)")
# What peft adds to them.
_ADDED = re.compile(r"\.(lora_\w+|trainable_tokens_\w+)(\.|$)")


def digest(value: torch.Tensor) -> str:
    """Sixteen hexadecimal digits that name type, shape and content of a tensor."""
    plain = value.detach().cpu().contiguous()
    found = hashlib.sha256(f"{plain.dtype} {tuple(plain.shape)}".encode())
    found.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def _plain(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """A model's weights under the names they have without peft."""
    named = model.named_parameters(remove_duplicate=False)
    return [(_WRAPPED.sub("", name), value) for name, value in named if not _ADDED.search(name)]


class StartWeights:
    """The weights a stage begins with.

    Args:
        name: folder or Hub id they came from. model: as it was loaded; not kept.
    """

    def __init__(self, name: str, model: nn.Module) -> None:
        self.name = name
        self.digests = {key: digest(value) for key, value in model.named_parameters(remove_duplicate=False)}

    def untouched(self, state: dict[str, torch.Tensor], learning: set[str]) -> dict[str, str]:
        """Names (as in the objective's `state_dict`) and digests of the weights that do not learn and are those of
        the start; a warm start may have changed others.

        Args:
            state: of the objective, whole. learning: names of its parameters that learn.
        """
        found = {}
        for name, value in state.items():
            started = self.digests.get(_WRAPPED.sub("", name.removeprefix("model.")))
            if started is not None and name not in learning and digest(value) == started:
                found[name] = started
        return found

    def differing(self, model: nn.Module) -> list[str]:
        """Names of the start's weights that are others now; peft's own beside them are passed over."""
        return [name for name, value in _plain(model) if name in self.digests and digest(value) != self.digests[name]]

    def unpaired(self, model: nn.Module) -> list[str]:
        """Names that only the start or only the model has."""
        return sorted(self.digests.keys() ^ {name for name, _ in _plain(model)})

    def write(self, folder: str | Path, untouched: dict[str, str]) -> None:
        """Writes where the weights that a checkpoint lacks are to be found."""
        text = json.dumps({"start": self.name, "weights": untouched}, indent=1)
        Path(folder, START_FILE).write_text(text + "\n", encoding="utf-8")


def check_start(checkpoint: str | Path, start: StartWeights | None, missing: list[str]) -> None:
    """Raises `ValueError` unless every weight that `checkpoint` lacks is at hand, and the one it was trained with."""
    path = Path(checkpoint, START_FILE)
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"start": None, "weights": {}}
    lost = sorted(set(missing) - set(record["weights"]))
    if lost:
        raise ValueError(f"{checkpoint} lacks {len(lost)} weights of this stage, e.g. {lost[0]}: it is of another one")
    digests = {} if start is None else start.digests
    other = [
        name
        for name, value in sorted(record["weights"].items())
        if digests.get(_WRAPPED.sub("", name.removeprefix("model."))) != value
    ]
    if other:
        raise ValueError(
            f"{checkpoint} goes on from the weights of {record['start']}, but {len(other)} of those loaded now are "
            f"others, e.g. {other[0]}: give the same init_from, or another output_dir"
        )


__all__ = ["START_FILE", "StartWeights", "check_start", "digest"]
