"""How the page looks: its parts, by name, and where they stand. What they do is connected in `page`.

What leaves: gradio components, made where they are called for. (Engineering; no paper section.)
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from .studio import TOOLS

DIRECTIONS = {"what waits": None, "forward": "forward", "backward": "backward", "both ways": "both"}
NEW = "new object"
# gradio reads a click on a picture that is shown larger than it is as one on another place: none is.
CSS = """
#canvas img {width: 100%; height: auto; max-height: 70vh; object-fit: scale-down; cursor: crosshair}
#objects label {overflow-wrap: anywhere}
#style {display: none}
.gradio-container {max-width: 1200px !important}
@media (max-width: 640px) {.gradio-container {padding: 6px !important}}
"""


def canvas_parts() -> dict[str, Any]:
    """The frame, and what is done to it."""
    parts: dict[str, Any] = {}
    parts["upload"] = gr.File(
        label="A picture or a video", file_types=["image", "video"], type="filepath", height=140, elem_id="upload"
    )
    with gr.Row():
        parts["scene"] = gr.Button("Example picture", size="sm", min_width=80, elem_id="scene")
        parts["clip"] = gr.Button("Example video", size="sm", min_width=80, elem_id="clip")
    with gr.Accordion("Camera", open=False, elem_id="camera"):
        parts["camera"] = gr.Image(sources=["webcam"], type="numpy", show_label=False, format="png")
    parts["said"] = gr.Markdown("Open a picture or a video, or take an example.", elem_id="said")
    parts["picture"] = gr.Image(
        label="Click on what is meant", interactive=False, format="png", elem_id="canvas", buttons=["fullscreen"]
    )
    parts["frame"] = gr.Slider(0, 1, 0, step=1, label="Frame", visible=False, elem_id="frame")
    with gr.Row(elem_id="steps"):
        parts["follow"] = gr.Button("Follow", variant="primary", visible=False, min_width=80, elem_id="follow")
        parts["stop"] = gr.Button("Stop", visible=False, min_width=80, elem_id="stop")
        parts["undo"] = gr.Button("Undo", min_width=80, elem_id="undo")
        parts["remove"] = gr.Button("Remove", min_width=80, elem_id="remove")
    parts["direction"] = gr.Radio(list(DIRECTIONS), value="what waits", label="Follow", visible=False)
    return parts


def words_parts() -> dict[str, Any]:
    """What is said, and the objects."""
    parts: dict[str, Any] = {}
    parts["text"] = gr.Textbox(label="Say what", placeholder="the red object", elem_id="text", max_lines=3)
    with gr.Row():
        parts["find"] = gr.Button("Find", variant="primary", min_width=80, elem_id="find")
        parts["ask"] = gr.Button("Ask", min_width=80, elem_id="ask")
        parts["stop"] = gr.Button("Stop", visible=False, min_width=80, elem_id="silence")
    gr.Examples(
        ["the red object", "the triangle left of the cross", "What color is the small cross?"],
        parts["text"],
        label="For the examples",
    )
    parts["talk"] = gr.Chatbot(label="Conversation", height=200, visible=False, elem_id="talk", buttons=[])
    parts["style"] = gr.HTML(elem_id="style")
    parts["objects"] = gr.Radio([NEW], value=NEW, label="Clicks are for", elem_id="objects")
    parts["tool"] = gr.Radio(list(TOOLS), value=TOOLS[0], label="A click is", elem_id="tool")
    parts["name"] = gr.Textbox(label="Name of a new object", placeholder="optional", elem_id="name")
    with gr.Accordion("Without a mouse; a mask of your own", open=False, elem_id="mouseless"):
        parts["marks"] = gr.Textbox(
            label="x y of a point, or x0 y0 x1 y1 of a box, then Enter", elem_id="marks", max_lines=1
        )
        parts["mask"] = gr.UploadButton(
            "Mask from a file", file_types=["image"], size="sm", min_width=80, elem_id="mask"
        )
    return parts


def files_parts() -> dict[str, Any]:
    """What is taken home."""
    parts: dict[str, Any] = {}
    with gr.Accordion("Download, save, explain", open=True):
        with gr.Row():
            parts["export"] = gr.Button("Overlay, masks, COCO", size="sm", min_width=80, elem_id="export")
            parts["explain"] = gr.Button("Explain", size="sm", min_width=80, elem_id="explain")
        with gr.Row():
            parts["save"] = gr.Button("Save work", size="sm", min_width=80, elem_id="save")
            parts["resume"] = gr.UploadButton(
                "Resume", file_types=[".desa2va"], size="sm", min_width=80, elem_id="resume"
            )
        parts["written"] = gr.File(
            label="Files", file_count="multiple", interactive=False, visible=False, elem_id="written"
        )
        parts["why"] = gr.Image(label="Why", interactive=False, visible=False, format="png", elem_id="why")
    return parts


__all__ = ["CSS", "DIRECTIONS", "NEW", "canvas_parts", "files_parts", "words_parts"]
