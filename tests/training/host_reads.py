"""What a device would be waited for, counted on the CPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Reads(TorchDispatchMode):
    """Counts the numbers that are read from tensors (`item`, `float`, `int`, `bool`), and how often something is
    looked for in one (`nonzero`, a mask as an index); each would wait for all that a device was asked before.
    """

    count = 0
    searches = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        by_mask = func is torch.ops.aten.index.Tensor and any(
            of is not None and of.dtype == torch.bool for of in args[1]
        )
        self.searches += by_mask or func is torch.ops.aten.nonzero.default
        return func(*args, **(kwargs or {}))
