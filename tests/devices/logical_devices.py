"""Devices that are only names: real CPU tensors, each labelled with a device, and every rule of mixing enforced.

Inside `LogicalDevices` a tensor can be "on" `cuda` or `cuda:1` on a machine without any: `.to`, `.cuda`, `.cpu` and
`device=` set the label, `.device` and `.is_cuda` read it, an operation that mixes labels raises as torch does, and
`.numpy()` of a tensor that is not on the CPU raises. Values are real, so code that looks at them (`.item()`,
`nonzero`) runs; torch's own fake tensors have none. The label hangs on the storage: views share it, and assigning
`Parameter.data` takes it along.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

aten = torch.ops.aten
CPU = torch.device("cpu")
# Copies between devices, and lists whose entries torch sorts by device itself.
MIXING = {"copy_", "_to_copy", "set_", "_has_same_storage_numel"}
INDEXING = {"index", "index_put", "index_put_", "_unsafe_index", "_unsafe_index_put", "_index_put_impl_"}
# They take no CPU scalar beside tensors of another device; arithmetic does.
STRICT = {"cat", "stack", "_scaled_dot_product_flash_attention_for_cpu", "embedding", "gather", "scatter"}


class MixedDeviceError(RuntimeError):
    """An operation got tensors on different devices."""


def named(device: Any) -> torch.device:
    """`cuda` is `cuda:0`."""
    device = torch.device(f"cuda:{device}") if isinstance(device, int) else torch.device(device)
    return torch.device("cuda", 0) if device.type == "cuda" and device.index is None else device


def label_of(tensor: torch.Tensor) -> torch.device:
    """The device a tensor is said to be on."""
    with torch._C.DisableTorchFunction():
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return tensor.device
        return getattr(tensor.untyped_storage(), "logical_device", CPU)


def put_label(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Says that a tensor, and what shares its storage, is on `device`."""
    with torch._C.DisableTorchFunction():
        if tensor.device.type == "cpu" and tensor.layout == torch.strided:
            tensor.untyped_storage().logical_device = device
    return tensor


def _tensors(tree: Any) -> list[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def _storage(tensor: torch.Tensor) -> int:
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage()._cdata if tensor.layout == torch.strided else id(tensor)


def check_devices(name: str, args: tuple, kwargs: dict[str, Any]) -> torch.device | None:
    """The device of an operation's result; `None` where no tensor enters.

    Raises:
        MixedDeviceError: as torch would.
    """
    if name.startswith(("_foreach", "_fused", "_amp_foreach")):
        return None
    if name in MIXING:
        return label_of(args[0])
    tensors = _tensors((args, kwargs))
    if name in INDEXING:
        own, indices = args[0], _tensors(args[1])
        if any(label_of(index) not in (CPU, label_of(own)) for index in indices):
            raise MixedDeviceError(f"aten.{name}: indices should be on the CPU or on {label_of(own)}")
        tensors = [own, *_tensors(args[2:])]
    if not tensors:
        return None
    places = {label_of(tensor) for tensor in tensors if tensor.ndim or name in STRICT}
    places |= {label_of(tensor) for tensor in tensors if label_of(tensor) != CPU}
    if len(places) > 1:
        seen = ", ".join(f"{tuple(tensor.shape)} on {label_of(tensor)}" for tensor in tensors)
        raise MixedDeviceError(f"aten.{name}: expected all tensors to be on the same device, got {seen}")
    return places.pop() if places else CPU


class _Rules(TorchDispatchMode):
    """Checks every operation, backward ones too, and labels what it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.ambient = CPU  # of tensors made from nothing inside a torch function

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        place = check_devices(func.overloadpacket.__name__, args, kwargs)
        place = self.ambient if place is None else place
        if kwargs.get("generator") is not None and place != CPU:
            raise MixedDeviceError(f"{func}: a generator of the CPU draws no numbers on {place}")
        known = {_storage(tensor) for tensor in _tensors((args, kwargs))}
        result = func(*args, **kwargs)
        for tensor in _tensors(result):
            if _storage(tensor) not in known:
                put_label(tensor, place)
        return result


class _Move(torch.autograd.Function):
    """A copy on another device; the gradient goes back to where the tensor came from."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        ctx.source = label_of(tensor)
        return put_label(tensor.clone(), device)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return put_label(gradient.clone(), ctx.source), None


def _move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    if label_of(tensor) == device:
        return tensor
    return tensor.to(device) if device.type == "meta" else _Move.apply(tensor, device)


class LogicalDevices(TorchFunctionMode):
    """Inside, the CPU plays every device, see the module."""

    def __init__(self) -> None:
        super().__init__()
        self._rules = _Rules()

    def __enter__(self) -> LogicalDevices:
        self._rules.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._rules.__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if func in _GETTERS:
            return _GETTERS[func](label_of(args[0]))
        if name in ("to", "cuda", "cpu") and args and isinstance(args[0], torch.Tensor):
            return self._to(name, *args, **kwargs)
        if name in ("numpy", "__array__") and label_of(args[0]) != CPU:
            raise TypeError(f"can't convert {label_of(args[0])} device type tensor to numpy")
        wanted = None
        if kwargs.get("device") is not None and name != "_parse_to":
            wanted = named(kwargs["device"])
            kwargs["device"] = wanted if wanted.type == "meta" else CPU
        given = _tensors((args, kwargs))
        before = self._rules.ambient
        labels = [label_of(tensor) for tensor in given]
        self._rules.ambient = wanted or next((label for label in labels if label != CPU), CPU)
        try:
            result = func(*args, **kwargs)
        finally:
            self._rules.ambient = before
        if wanted is None or wanted.type == "meta":
            return result
        known = {_storage(tensor) for tensor in given}
        return tree_map_only(
            torch.Tensor,
            lambda made: _move(made, wanted) if _storage(made) in known else put_label(made, wanted),
            result,
        )

    @staticmethod
    def _to(name: str, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """`.to`, `.cuda` and `.cpu`: the dtype really, the device as a label."""
        if name != "to":
            device, dtype = (CPU if name == "cpu" else named(args[0] if args else "cuda")), None
        elif args and isinstance(args[0], torch.Tensor):
            device, dtype = label_of(args[0]), args[0].dtype
        else:
            words = {key: value for key, value in kwargs.items() if key not in ("copy", "memory_format")}
            args = tuple(f"cuda:{value}" if type(value) is int else value for value in args)
            device, dtype = torch._C._nn._parse_to(*args, **words)[:2]
            device = label_of(tensor) if device is None else named(device)
        moved = tensor if dtype is None else tensor.to(dtype)
        if kwargs.get("copy") and moved is tensor:
            moved = tensor.clone()
        return _move(moved, device)


_GETTERS = {
    torch.Tensor.device.__get__: lambda device: device,
    torch.Tensor.is_cuda.__get__: lambda device: device.type == "cuda",
    torch.Tensor.is_cpu.__get__: lambda device: device.type == "cpu",
    torch.Tensor.get_device: lambda device: -1 if device.type == "cpu" else device.index,
}


__all__ = ["LogicalDevices", "MixedDeviceError", "check_devices", "label_of", "named", "put_label"]
