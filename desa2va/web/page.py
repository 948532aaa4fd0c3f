"""The page: which step each of its parts is. How they look stands in `layout`, what is done in `studio`.

What enters: the visitors. What leaves: a gradio page. (Engineering; no paper section.)
"""

from __future__ import annotations

import html
import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from desa2va.serving.engine import Question

from .layout import DIRECTIONS, NEW, canvas_parts, files_parts, words_parts
from .studio import Studio, View
from .visitors import Visitors, sentence

_LOGGER = logging.getLogger(__name__)
_DEMO = Path(__file__).resolve().parent.parent / "assets" / "demo"


def build(visitors: Visitors, model_name: str, mcp: bool = False) -> gr.Blocks:
    """The page of one model.

    Args:
        visitors: share it. model_name: shown at the top. mcp: offer `segment_picture` to agents.
    """
    with gr.Blocks(title="DeSa2VA", analytics_enabled=False) as page:
        gr.Markdown(f"## DeSa2VA\nWords and clicks to masks. Model: `{model_name}`")
        with gr.Row():
            with gr.Column(scale=3):
                canvas = canvas_parts()
            with gr.Column(scale=2):
                words, files = words_parts(), files_parts()
        _connect(visitors, canvas, words, files)
        page.unload(_leaver(visitors))
        if mcp:
            _offer(visitors)
    return page


def _connect(visitors: Visitors, canvas: dict[str, Any], words: dict[str, Any], files: dict[str, Any]) -> None:
    """Which step each part of the page is."""
    shown = [canvas[name] for name in ("said", "picture", "frame", "follow", "direction")]
    shown += [words["objects"], words["style"]]
    quiet = {"api_visibility": "private", "show_progress": "minimal"}
    name, text = words["name"], words["text"]

    def step(event: Any, what: Callable[..., Any], inputs: list[Any], **more: Any) -> None:
        event(_told(lambda visitor, *given: _shown(what(visitor, *given))), inputs, shown, **{**quiet, **more})

    def edit(event: Any, what: Callable[..., View], inputs: list[Any], **more: Any) -> None:
        step(event, lambda visitor, *given: visitors.work(visitor, lambda own: what(own, *given)), inputs, **more)

    for part, file in (("scene", "scene.png"), ("clip", "clip.mp4")):
        step(canvas[part].click, lambda visitor, file=file: visitors.open(visitor, _DEMO / file), [])
    step(canvas["upload"].upload, visitors.open, [canvas["upload"]])
    step(canvas["camera"].input, lambda visitor, picture: _snapshot(visitors, visitor, picture), [canvas["camera"]])
    edit(
        canvas["frame"].input, lambda own, frame: own.show(frame=frame), [canvas["frame"]], trigger_mode="always_last"
    )
    edit(canvas["undo"].click, Studio.undo, [])
    edit(canvas["remove"].click, Studio.remove, [])
    edit(words["find"].click, Studio.find, [text, name])
    edit(text.submit, Studio.find, [text, name])
    edit(words["objects"].input, lambda own, chosen: own.choose(_number(chosen)), [words["objects"]])
    edit(words["marks"].submit, Studio.type_marks, [words["marks"], words["tool"], name])
    edit(words["mask"].upload, Studio.mask_file, [words["mask"], name])
    edit(files["resume"].upload, Studio.resume, [files["resume"]])
    _connect_click(visitors, canvas["picture"], [words["tool"], name], shown, quiet)
    _connect_follow(visitors, canvas, shown, quiet)
    _connect_ask(visitors, words, shown, quiet)
    for part, what in (("export", Studio.export), ("save", lambda own: [own.save()])):
        write = _told(lambda visitor, what=what: gr.File(visitors.files(visitor, what), visible=True))
        files[part].click(write, [], files["written"], **quiet)
    explain = _told(lambda visitor: gr.Image(visitors.work(visitor, Studio.explain), visible=True))
    files["explain"].click(explain, [], files["why"], **quiet)


def _connect_click(visitors: Visitors, picture: Any, inputs: list[Any], shown: list[Any], quiet: dict) -> None:
    def clicked(tool: str, name: str, event: gr.SelectData, request: gr.Request) -> list[Any]:
        x, y = event.index
        click = _told(lambda visitor: _shown(visitors.work(visitor, lambda own: own.click(x, y, tool, name))))
        return click(request)

    picture.select(clicked, inputs, shown, **quiet)


def _connect_follow(visitors: Visitors, canvas: dict[str, Any], shown: list[Any], quiet: dict) -> None:
    """Progress is a sentence and the frame at hand; `Stop` is heard while it runs."""

    def follow(direction: str, request: gr.Request) -> Iterator[list[Any]]:
        try:
            for done, view in visitors.propagate(request.session_hash, DIRECTIONS[direction]):
                counted = f"{done} of {view.num_frames}: {view.said}" if view.said.startswith("Frame") else view.said
                yield [*_shown(view, counted), gr.Button(visible=view.said.startswith("Frame"))]
        except Exception as error:
            raise _page_error(error) from error

    started = canvas["follow"].click(follow, [canvas["direction"]], [*shown, canvas["stop"]], **quiet)
    _connect_stop(visitors, canvas["stop"], started)


def _connect_ask(visitors: Visitors, words: dict[str, Any], shown: list[Any], quiet: dict) -> None:
    """A turn; `Stop` is heard while the answer is written."""

    def ask(text: str, said: list[Any] | None, request: gr.Request) -> Iterator[list[Any]]:
        yield [*[gr.skip()] * (1 + len(shown)), gr.Button(visible=True)]
        try:
            answer, view = visitors.ask(request.session_hash, text)
        except Exception as error:
            raise _page_error(error) from error
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
        yield [gr.Chatbot([*(said or []), *turns], visible=True), *_shown(view), gr.Button(visible=False)]

    outputs = [words["talk"], *shown, words["stop"]]
    started = words["ask"].click(ask, [words["text"], words["talk"]], outputs, **quiet)
    _connect_stop(visitors, words["stop"], started)


def _connect_stop(visitors: Visitors, button: Any, started: Any) -> None:
    """A button that is heard at once, and goes where what it would stop has failed."""
    started.failure(lambda: gr.Button(visible=False), None, button, api_visibility="private")

    def stop(request: gr.Request) -> None:
        visitors.stop(request.session_hash)

    button.click(stop, None, None, api_visibility="private", queue=False)


def _told(what: Callable[..., Any]) -> Callable[..., Any]:
    """A step as gradio calls it: with the key of the visitor, and errors as sentences."""

    def called(request: gr.Request, *given: Any) -> Any:
        try:
            return what(request.session_hash, *given)
        except Exception as error:
            raise _page_error(error) from error

    return called


def _page_error(error: Exception) -> gr.Error:
    text = sentence(error)
    if text is None:
        _LOGGER.error("a step of the page failed", exc_info=error)
        text = "Something failed here; what it was stands in the log of the program."
    return gr.Error(html.escape(text, quote=False), title="Not done", duration=20, print_exception=False)


def _shown(view: View, said: str | None = None) -> list[Any]:
    """A `View` as the parts of the page."""
    choices = [(NEW, NEW), *((f"{one.number}: {one.name}", str(one.number)) for one in view.objects)]
    chosen = NEW if view.chosen is None else str(view.chosen)
    rules = "".join(
        f"#objects label:nth-of-type({place}) {{border-left: 8px solid rgb{one.colour}}}"
        for place, one in enumerate(view.objects, 2)
    )
    video = view.num_frames > 1
    waits = any(one.waits for one in view.objects)
    return [
        html.escape(view.said if said is None else said, quote=False),
        view.picture,
        gr.Slider(0, max(1, view.num_frames - 1), view.frame, step=1, visible=video),
        gr.Button(visible=video, variant="primary" if waits else "secondary"),
        gr.Radio(visible=video),
        gr.Radio(choices, value=chosen),
        f"<style>{rules}</style>",
    ]


def _number(chosen: str) -> int | None:
    return int(chosen) if chosen.isdecimal() else None


def _snapshot(visitors: Visitors, visitor: str, picture: np.ndarray | None) -> View:
    if picture is None:
        raise ValueError("the camera gave no picture")
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        Image.fromarray(picture).save(file, "PNG")
        file.flush()
        return visitors.open(visitor, file.name)


def _leaver(visitors: Visitors) -> Callable[..., None]:
    def leave(request: gr.Request) -> None:
        visitors.leave(request.session_hash)

    return leave


def _offer(visitors: Visitors) -> None:
    """The one step that agents may call."""

    def segment_picture(picture: np.ndarray, text: str) -> tuple[np.ndarray, str]:
        """Finds what a text names in a picture.

        Args:
            picture: the picture to look at.
            text: what to find, for example: the red cup.

        Returns:
            The picture with its masks, and JSON with the answer, boxes, scores and COCO run-length masks.
        """
        try:
            future = visitors.engine.ask(Question(picture, [text]))
            (result,) = future.result(visitors.limits.request_seconds).results
        except Exception as error:
            raise _page_error(error) from error
        return result.plot(image=picture), json.dumps(result.to_dict())

    with gr.Row(visible=False):
        gr.Button().click(
            segment_picture,
            [gr.Image(format="png"), gr.Textbox()],
            [gr.Image(format="png"), gr.Textbox()],
            api_name="segment_picture",
            queue=False,  # the line before the model is the engine's
        )


__all__ = ["build"]
