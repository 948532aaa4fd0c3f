"""As much of ComfyUI's node interface (V3) as a node pack meets, and as strict as the original where it matters.

Of the original it has: ids that are unique among inputs and outputs together, classes that are locked while they run
(no state on a node), arguments by the ids of the inputs, outputs by place.
"""

import asyncio
import importlib.util
import inspect
import sys
import types
from dataclasses import dataclass, field
from types import SimpleNamespace


@dataclass
class Port:
    """An input or an output."""

    id: str = None
    kind: str = ""
    optional: bool = False
    options: dict = field(default_factory=dict)


def of_type(kind):
    """A type with `Input` and `Output`."""

    def make_input(id, optional=False, **options):
        known = {"display_name", "tooltip", "default", "min", "max", "multiline", "options", "label_on", "label_off"}
        assert set(options) <= known, options
        return Port(id, kind, optional, options)

    def make_output(id=None, display_name=None, tooltip=None):
        return Port(id, kind)

    return SimpleNamespace(Input=make_input, Output=make_output)


@dataclass
class Schema:
    """What a node says of itself."""

    node_id: str
    display_name: str = None
    category: str = ""
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)

    def validate(self):
        """As the original's."""
        ids = [port.id for port in (*self.inputs, *self.outputs)]
        assert None not in ids
        assert len(set(ids)) == len(ids), f"ids are not unique: {ids}"


class NodeOutput:
    """What a node returns."""

    def __init__(self, *values):
        self.values = values


class Locked(type):
    """A class that takes no new attribute once it is defined."""

    def __setattr__(cls, name, value):
        raise AttributeError(f"{cls.__name__} is locked; a node has no state")


class ComfyNode(metaclass=Locked):
    """The base of all nodes."""


class Interrupted(Exception):
    """Somebody pressed Cancel."""


class Comfy:
    """A stand-in for the program: `progress` counts, `cancel_after` presses Cancel after so many steps."""

    def __init__(self):
        self.progress, self.total, self.cancel_after = 0, 0, None

    def modules(self):
        """The modules that a pack imports."""
        types_ = {name.capitalize(): of_type(name.upper()) for name in ("image", "mask", "string", "int", "float")}
        types_ |= {"Boolean": of_type("BOOLEAN"), "Combo": of_type("COMBO"), "Output": Port}
        io = SimpleNamespace(Custom=of_type, Schema=Schema, NodeOutput=NodeOutput, ComfyNode=ComfyNode, **types_)
        latest = types.ModuleType("comfy_api.latest")
        latest.io, latest.ComfyExtension = io, type("ComfyExtension", (), {})
        management, utils = types.ModuleType("comfy.model_management"), types.ModuleType("comfy.utils")
        management.throw_exception_if_processing_interrupted = self._look
        utils.ProgressBar = self._bar
        packages = {name: types.ModuleType(name) for name in ("comfy_api", "comfy")}
        return {
            **packages,
            "comfy_api.latest": latest,
            "comfy.model_management": management,
            "comfy.utils": utils,
        }

    def load(self, folder):
        """The nodes of a pack by their ids, found as the program finds them."""
        name = f"custom_nodes_{folder.name}"
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        nodes = asyncio.run(asyncio.run(module.comfy_entrypoint()).get_node_list())
        for node in nodes:
            node.define_schema().validate()
        return {node.define_schema().node_id: node for node in nodes}

    def run(self, nodes, graph, wanted):
        """The outputs of node `wanted` of a graph `{key: (node_id, {input: value or (key, place)})}`."""
        done = {}

        def outputs(key):
            if key not in done:
                node, given = nodes[graph[key][0]], graph[key][1]
                schema = node.define_schema()
                values = {
                    name: outputs(value[0])[value[1]] if isinstance(value, tuple) and value[0] in graph else value
                    for name, value in given.items()
                }
                ids = {port.id: port.optional for port in schema.inputs}
                assert set(values) <= set(ids)
                assert {name for name, optional in ids.items() if not optional} <= set(values)
                assert list(inspect.signature(node.execute).parameters) == list(ids)
                for port in schema.inputs:
                    if port.kind == "COMBO" and port.id in values:
                        assert values[port.id] in port.options["options"]
                result = node.execute(**values)
                assert len(result.values) == len(schema.outputs)
                done[key] = result.values
            return done[key]

        return outputs(wanted)

    def _look(self):
        if self.cancel_after is not None and self.progress >= self.cancel_after:
            raise Interrupted

    def _bar(self, total):
        self.total = total
        return SimpleNamespace(update=self._moved)

    def _moved(self, count):
        self.progress += count
