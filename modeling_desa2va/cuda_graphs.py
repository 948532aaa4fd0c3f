"""Networks recorded once as CUDA graphs and replayed, so that a GPU does not wait for Python to launch small kernels.

Enters: networks on a GPU, in eval mode. Leaves: the same networks; a call with inputs of shapes seen before is one
launch. Graphs hold memory, and in half precision a copy of the weights; `stop_replaying` frees both.
(Engineering; no paper section.)
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

EAGER_CALLS = 2  # shapes that come so seldom are not recorded: memory attention has one for each of the first frames
KEPT_GRAPHS = 8  # of one network; those not used for longest go first
HALVED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)  # whose weights autocast would cast at every call

# What a recorded call is: takes the inputs' tensors, returns the outputs' and a function that runs the graph on them.
Recorder = Callable[[Callable[[], Any]], "tuple[Any, Callable[[], None]]"]


class ReplayedNetwork:
    """Stands in for the call of a network: eager for new shapes, a replayed graph for known ones.

    Args:
        network: in eval mode on a GPU. compiled: fuse small kernels before recording; takes minutes, once for each
            shape. record: makes a graph of a call without arguments.
    """

    def __init__(self, network: nn.Module, compiled: bool = False, record: Recorder | None = None) -> None:
        self.network, self.compiled = network, compiled
        self._record = record or GraphRecorder()
        self._lock = threading.Lock()
        self._weights: Any = None
        self._forget()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the network returns, in memory of its own."""
        leaves, structure = tree_flatten((args, kwargs))
        if torch.is_grad_enabled() or self.network.training or not _can_be_recorded(leaves):
            return self.network._call_impl(*args, **kwargs)
        dtype = _autocast_dtype(leaves)
        key = structure, dtype, *(_kind(leaf) for leaf in leaves)
        with self._lock:
            if self._weights != (weights := _weights_now(self.network)):
                self._forget()
                self._weights = weights
            self._seen[key] = self._seen.get(key, 0) + 1
            if self._seen[key] <= EAGER_CALLS:
                return self.network._call_impl(*args, **kwargs)
            if key not in self._graphs:
                self._graphs[key] = self._recorded(leaves, structure, dtype)
                if len(self._graphs) > KEPT_GRAPHS:
                    self._graphs.popitem(last=False)
            self._graphs.move_to_end(key)
            return self._graphs[key].replay(leaves)

    def _forget(self) -> None:
        self._seen: dict[Any, int] = {}
        self._graphs: OrderedDict[Any, _Recorded] = OrderedDict()
        self._functions: dict[torch.dtype | None, Callable[..., Any]] = {}

    def _recorded(self, leaves: list[Any], structure: Any, dtype: torch.dtype | None) -> _Recorded:
        # Dense inputs keep their strides, which kernels are chosen by; the rows of an expanded one become rows.
        held = [leaf.clone() if _is_tensor(leaf) else leaf for leaf in leaves]
        args, kwargs = tree_unflatten(held, structure)
        if dtype not in self._functions:
            function = self.network._call_impl if dtype is None else _halved(self.network, dtype)
            self._functions[dtype] = torch.compile(function, dynamic=False) if self.compiled else function
        function = self._functions[dtype]

        def call() -> Any:
            with _uncached_autocast(leaves, dtype):
                return function(*args, **kwargs)

        outputs, run = self._record(call)
        return _Recorded(held, outputs, run)


def _halved(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy whose weights are in `dtype` where autocast would cast them, at every call."""
    twin = copy.deepcopy(network)
    for module in twin.modules():
        if isinstance(module, HALVED):
            module.to(dtype)
    return twin


def _weights_now(network: nn.Module) -> tuple[int, int]:
    """Changes when weights are moved, loaded or trained: all are then, so the first one tells."""
    first = next(network.parameters())
    return first.data_ptr(), 0 if first.is_inference() else first._version


class _Recorded:
    """A call that can be made again: where its inputs are read, what it fills, and what runs it."""

    def __init__(self, inputs: list[Any], outputs: Any, run: Callable[[], None]) -> None:
        self.inputs, self.outputs, self.run = inputs, outputs, run

    def replay(self, leaves: list[Any]) -> Any:
        for held, given in zip(self.inputs, leaves, strict=True):
            if _is_tensor(held):
                held.copy_(given)
        self.run()
        return tree_map(lambda value: value.clone() if _is_tensor(value) else value, self.outputs)


class GraphRecorder:
    """Records calls as CUDA graphs that share their memory: one runs after the other, and results are copied out."""

    def __init__(self) -> None:
        self.pool: Any = None

    def __call__(self, call: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """What the call returns, in the graph's memory, and what makes it again."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            call()  # what is made at a first call, such as codes that are kept, must not belong to the graph
        torch.cuda.current_stream().wait_stream(stream)
        self.pool = torch.cuda.graph_pool_handle() if self.pool is None else self.pool
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            outputs = call()
        return outputs, graph.replay


def replay_networks(networks: Iterable[nn.Module], compiled: bool = False) -> None:
    """Lets networks be recorded and replayed from now on; see `ReplayedNetwork`."""
    recorder = GraphRecorder()
    for network in networks:
        network._compiled_call_impl = ReplayedNetwork(network, compiled, recorder)


def stop_replaying(networks: Iterable[nn.Module]) -> None:
    """Forgets the graphs and frees their memory."""
    for network in networks:
        if isinstance(network._compiled_call_impl, ReplayedNetwork):
            network._compiled_call_impl = None


class CudaGraphsMixin(nn.Module):
    """`use_cuda_graphs` for `DeSa2VAModel`."""

    def use_cuda_graphs(self, compiled: bool = False) -> None:
        """Lets the vision tower (InternVL's) and SAM-2's networks be recorded as CUDA graphs and replayed: a GPU then
        does not wait for Python. Answers are the same to rounding.

        From the third call on with inputs of the same shapes; in eval mode, without gradients and on a GPU only.
        Weights may change, be moved or loaded: networks are recorded again.

        Args:
            compiled: let `torch.compile` fuse small operations before recording; the first frames then take minutes.
        """
        replay_networks(self._replayed_networks(), compiled)

    def drop_cuda_graphs(self) -> None:
        """Ends `use_cuda_graphs` and frees what it held."""
        stop_replaying(self._replayed_networks())

    def _replayed_networks(self) -> list[nn.Module]:
        tower = getattr(self.mllm.model, "vision_tower", None)
        return [*([] if tower is None else [tower]), *self.segmenter.networks().values()]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _can_be_recorded(leaves: list[Any]) -> bool:
    """Whether all inputs are on a GPU, and everything else is a plain value."""
    tensors = [leaf for leaf in leaves if _is_tensor(leaf)]
    plain = (int, float, bool, str, type(None))
    return (
        bool(tensors)
        and all(_on_gpu(tensor) for tensor in tensors)
        and all(_is_tensor(leaf) or isinstance(leaf, plain) for leaf in leaves)
    )


def _on_gpu(tensor: torch.Tensor) -> bool:
    return tensor.is_cuda


def _kind(leaf: Any) -> Any:
    return (tuple(leaf.shape), leaf.stride(), leaf.dtype, leaf.device) if _is_tensor(leaf) else leaf


def _autocast_dtype(leaves: list[Any]) -> torch.dtype | None:
    """What autocast computes in just now, on the inputs' device; `None` where it is off."""
    device = next(leaf for leaf in leaves if _is_tensor(leaf)).device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def _uncached_autocast(leaves: list[Any], dtype: torch.dtype | None) -> AbstractContextManager:
    """Autocast that keeps no cast weights: they would lie in the graph's memory."""
    if dtype is None:
        return nullcontext()
    device = next(leaf for leaf in leaves if _is_tensor(leaf)).device.type
    return torch.autocast(device, dtype=dtype, cache_enabled=False)


__all__ = ["CudaGraphsMixin", "GraphRecorder", "ReplayedNetwork", "replay_networks", "stop_replaying"]
