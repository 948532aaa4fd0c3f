"""The nodes: their inputs and outputs, in the V3 schema. What they do is in `work`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from comfy_api.latest import io

from .work import Click, Found, as_mask, load_model, pick, segment_pictures, segment_video

CATEGORY = "DeSa2VA"
Model = io.Custom("DESA2VA_MODEL")
Clicks = io.Custom("DESA2VA_CLICKS")
Objects = io.Custom("DESA2VA_OBJECTS")
_REQUESTS = "what to segment, one request per line"


def _steps(total: int) -> Callable[[], None]:
    """A call that moves the progress bar by one, and ends the work where somebody pressed Cancel."""
    from comfy.model_management import throw_exception_if_processing_interrupted
    from comfy.utils import ProgressBar

    bar = ProgressBar(total)

    def step() -> None:
        throw_exception_if_processing_interrupted()
        bar.update(1)

    return step


def _outputs() -> list[io.Output]:
    return [
        Objects.Output("objects", display_name="objects"),
        io.Mask.Output("mask", display_name="mask", tooltip="the union of all objects, [B, H, W]"),
        io.String.Output("answers", display_name="answers"),
    ]


class DeSa2VAModelNode(io.ComfyNode):
    """Loads a model once."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A name in, a model out."""
        return io.Schema(
            node_id="DeSa2VAModel",
            display_name="DeSa2VA Model",
            category=CATEGORY,
            inputs=[
                io.String.Input("name", default="desa2va-tiny", tooltip="desa2va-tiny, a folder or a Hub id"),
                io.Combo.Input("dtype", options=["auto", "float32", "bfloat16", "float16"], default="auto"),
            ],
            outputs=[Model.Output("model", display_name="model")],
        )

    @classmethod
    def execute(cls, name: str, dtype: str) -> io.NodeOutput:
        """Loads, or gives what is loaded."""
        return io.NodeOutput(load_model(name, dtype))


class DeSa2VAClickNode(io.ComfyNode):
    """One click more."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A place on a frame, and the clicks before it."""
        most = 100_000
        return io.Schema(
            node_id="DeSa2VAClick",
            display_name="DeSa2VA Click",
            category=CATEGORY,
            inputs=[
                io.Int.Input("frame", default=0, min=0, max=most, tooltip="the frame that is clicked on, from 0"),
                io.Float.Input("x", default=0.0, min=0.0, max=float(most), tooltip="pixels from the left"),
                io.Float.Input("y", default=0.0, min=0.0, max=float(most), tooltip="pixels from the top"),
                io.Boolean.Input("inside", default=True, label_on="on the object", label_off="beside it"),
                io.Int.Input("number", default=0, min=0, max=most, tooltip="which object the click is about"),
                Clicks.Input("earlier", optional=True),
            ],
            outputs=[Clicks.Output("clicks", display_name="clicks")],
        )

    @classmethod
    def execute(
        cls, frame: int, x: float, y: float, inside: bool, number: int, earlier: list[Click] | None = None
    ) -> io.NodeOutput:
        """The earlier clicks and this one; the earlier list stays as it is, since other nodes may have it."""
        return io.NodeOutput([*(earlier or []), Click(frame, x, y, inside, number)])


class DeSa2VASegmentPicturesNode(io.ComfyNode):
    """Every picture of a batch by itself."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Pictures and requests in, objects out."""
        return io.Schema(
            node_id="DeSa2VASegmentPictures",
            display_name="DeSa2VA Segment Pictures",
            category=CATEGORY,
            inputs=[
                Model.Input("model"),
                io.Image.Input("images"),
                io.String.Input("text", multiline=True, default="", tooltip=_REQUESTS),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(cls, model: tuple, images: torch.Tensor, text: str) -> io.NodeOutput:
        """See `segment_pictures`."""
        found, told = segment_pictures(model, images, text, _steps(len(images)))
        return io.NodeOutput(found, as_mask(found, images.shape[:3]), told)


class DeSa2VASegmentVideoNode(io.ComfyNode):
    """The frames of one video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Frames, requests and clicks in, objects out."""
        return io.Schema(
            node_id="DeSa2VASegmentVideo",
            display_name="DeSa2VA Segment Video",
            category=CATEGORY,
            inputs=[
                Model.Input("model"),
                io.Image.Input("frames"),
                io.String.Input("text", multiline=True, default="", tooltip=_REQUESTS),
                Clicks.Input("clicks", optional=True),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls, model: tuple, frames: torch.Tensor, text: str, clicks: list[Click] | None = None
    ) -> io.NodeOutput:
        """See `segment_video`."""
        found, told = segment_video(model, frames, text, clicks or [], _steps(len(frames)))
        return io.NodeOutput(found, as_mask(found, frames.shape[:3]), told)


class DeSa2VAPickObjectNode(io.ComfyNode):
    """One object of several."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Objects in, a mask out."""
        return io.Schema(
            node_id="DeSa2VAPickObject",
            display_name="DeSa2VA Pick Object",
            category=CATEGORY,
            inputs=[
                Objects.Input("objects"),
                io.Mask.Input("like", tooltip="a mask of the size wanted: that of the segmenting node"),
                io.Int.Input("number", default=0, min=-1, max=100_000, tooltip="from 0; -1: all of that name"),
                io.String.Input("name", default="", tooltip="a part of the name; empty: any"),
            ],
            outputs=[
                io.Mask.Output("mask", display_name="mask"),
                io.String.Output("found", display_name="name"),
                io.Int.Output("count", display_name="count"),
            ],
        )

    @classmethod
    def execute(cls, objects: list[Found], like: torch.Tensor, number: int, name: str) -> io.NodeOutput:
        """See `pick`."""
        picked = pick(objects, number, name)
        return io.NodeOutput(as_mask(picked, like.shape), ", ".join(entry.name for entry in picked), len(objects))


NODES = [
    DeSa2VAModelNode,
    DeSa2VAClickNode,
    DeSa2VASegmentPicturesNode,
    DeSa2VASegmentVideoNode,
    DeSa2VAPickObjectNode,
]
