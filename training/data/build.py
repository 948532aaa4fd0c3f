"""From data arguments to a map-style data set of `Sample`s.

Enters: `DataArguments`. Leaves: RefShapes, or a user's fine-tune JSON.
"""

from __future__ import annotations

from typing import Any

from desa2va.training.arguments import DataArguments

from .refshapes import RefShapes


def build_dataset(data: DataArguments, arguments: Any) -> Any:
    """The training set.

    Args:
        data: what to learn from. arguments: training arguments; RefShapes is made exactly as long as the run needs, so no
            scene is seen twice.
    """
    if data.dataset == "refshapes":
        length = arguments.max_steps * arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
        return RefShapes("train", **{"seed": data.seed, "length": max(length, 1024), **data.options})
    from .finetune import FineTuneDataset

    return FineTuneDataset(data.dataset, **data.options)


__all__ = ["build_dataset"]
