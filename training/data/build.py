"""From data arguments to a map-style data set of `Sample`s.

Enters: `DataArguments`. Leaves: RefShapes, a user's fine-tune JSON, or a mixture of such.
"""

from __future__ import annotations

from typing import Any

from desa2va.training.arguments import DataArguments

from .mixture import Mixture
from .refshapes import RefShapes


def build_dataset(data: DataArguments, arguments: Any) -> Any:
    """The training set.

    Args:
        data: what to learn from. arguments: training arguments; RefShapes is made exactly as long as the run needs,
            so no scene is seen twice.
    """
    per_step = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    length = max(arguments.max_steps * per_step, 1024)
    if data.parts:
        parts = [_part(part["dataset"], part.get("options", {}), data.seed, length) for part in data.parts]
        return Mixture(parts, [part.get("share", 1.0) for part in data.parts], length, data.seed)
    return _part(data.dataset, data.options, data.seed, length)


def _part(name: str, options: dict[str, Any], seed: int, length: int) -> Any:
    if name == "refshapes":
        return RefShapes("train", **{"seed": seed, "length": length, **options})
    from .finetune import FineTuneDataset

    return FineTuneDataset(name, **options)


__all__ = ["build_dataset"]
