"""A backend for Label Studio: sentences and clicks in, brush labels of pictures and boxes of videos out.

    pip install 'desa2va[serve]' label-studio-sdk
    LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=... python integrations/label_studio/backend.py

What enters: the requests that Label Studio sends to a model (`/predict`). What leaves: predictions in its own form.
While somebody labels: their sentence (`<TextArea>`), their clicks or their box with the chosen label. For whole
projects: the sentence in the task's field `text`, else every label of the configuration by its name.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from label_studio_sdk._extensions.label_studio_tools.core.utils.io import get_local_path
from label_studio_sdk.label_interface import LabelInterface

import desa2va
from desa2va.processing.inputs import load_image, open_visual
from desa2va.serving.engine import Engine, Question

VERSION = f"desa2va-{desa2va.__version__}"
_READ = ("http://", "https://", "/data/", "upload/", "/upload/", "s3://", "gs://", "azure-blob://", "/storage-data/")


@dataclass
class Asked:
    """What is asked about a task: `texts`, each with the label its objects get; or `prompts` with one label."""

    labels: list[str]
    texts: list[str] = field(default_factory=list)
    prompts: dict[str, Any] = field(default_factory=dict)


def create_app(engine: Engine) -> FastAPI:
    """The routes that Label Studio calls."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        yield
        engine.close()

    app = FastAPI(title="DeSa2VA for Label Studio", lifespan=lifespan)

    @app.get("/health")
    @app.get("/")
    def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "DeSa2VA", "model_version": VERSION}

    @app.post("/setup")
    def setup() -> dict[str, str]:
        return {"model_version": VERSION}

    @app.post("/predict")
    def predict(body: dict[str, Any]) -> JSONResponse:
        try:
            config = LabelInterface(body["label_config"])
            context = (body.get("params") or {}).get("context") or {}
            results = [predict_task(engine, config, task, context) for task in body["tasks"]]
        except (KeyError, ValueError, OSError) as error:
            told = f"{error} is missing in the request" if isinstance(error, KeyError) else str(error)
            return JSONResponse({"error": told}, 400)
        return JSONResponse({"results": results, "model_version": VERSION})

    return app


def predict_task(engine: Engine, config: LabelInterface, task: dict[str, Any], context: dict[str, Any]) -> dict:
    """The prediction for one task; `ValueError` where the configuration lacks what its answers need."""
    shown = next((tag for tag in config.objects if tag.tag in ("Image", "Video")), None)
    if shown is None:
        raise ValueError("the labelling configuration has no <Image> and no <Video>")
    source = read_source(task["data"][shown.value_name], task)
    if shown.tag == "Video":
        return _predict_video(engine, config, shown, source, task, context)
    control = _control(config, "BrushLabels", shown.name)
    image = load_image(source, "the picture of the task")
    asked = what_is_asked(list(control.labels), task, context, image.shape[:2])
    question = Question(image, asked.texts or None, prompts=asked.prompts)
    results = engine.ask(question).result().results
    regions: list[dict[str, Any]] = []
    for result, label in zip(results, asked.labels, strict=True):
        (prediction,) = result.to_label_studio([""], from_name=control.name, to_name=shown.name)[0]["predictions"]
        for region in prediction["result"]:
            region["id"], region["value"]["brushlabels"] = f"object-{len(regions)}", [label]
            regions.append(region)
    return _prediction(regions)


def what_is_asked(labels: list[str], task: dict[str, Any], context: dict[str, Any], size: tuple[int, int]) -> Asked:
    """Sentence, clicks or box of whoever labels, else the task's sentence, else all labels; `size`: height, width."""
    drawn = context.get("result") or []
    words = [text for entry in drawn if entry["type"] == "textarea" for text in entry["value"]["text"] if text.strip()]
    marks = [entry for entry in drawn if entry["type"] in ("keypointlabels", "rectanglelabels")]
    said = (label for entry in drawn for label in entry["value"].get(entry["type"], []))
    chosen = next((label for label in said if label in labels), None)
    if marks:
        return Asked([chosen or labels[0]], prompts=_prompts(marks, size))
    words = words or ([task["data"]["text"]] if task["data"].get("text") else [])
    if words:
        return Asked([chosen or _label_of(text, labels) for text in words], words)
    return Asked(labels, labels)


def _label_of(text: str, labels: list[str]) -> str:
    """The label that a sentence names, else the first."""
    return next((label for label in labels if label.lower() in text.lower()), labels[0])


def _prompts(marks: list[dict[str, Any]], size: tuple[int, int]) -> dict[str, Any]:
    """Clicks and box in pixels; Label Studio has percent."""
    height, width = size[0] / 100, size[1] / 100
    values = [(entry["value"], entry.get("is_positive", True)) for entry in marks]
    points = [[v["x"] * width, v["y"] * height, float(inside)] for v, inside in values if "height" not in v]
    boxes = [
        [v["x"] * width, v["y"] * height, (v["x"] + v["width"]) * width, (v["y"] + v["height"]) * height]
        for v, _ in values
        if "height" in v
    ]
    return {**({"points": points} if points else {}), **({"boxes": [boxes[-1]]} if boxes else {})}


def _predict_video(
    engine: Engine, config: LabelInterface, shown: Any, source: Any, task: dict[str, Any], context: dict[str, Any]
) -> dict[str, Any]:
    """Boxes of every object on every frame of a video."""
    control, names = _control(config, "VideoRectangle", shown.name), _control(config, "Labels", shown.name)
    video = open_visual(source, "the video of the task")
    asked = what_is_asked(list(names.labels), task, context, (video.height, video.width))

    def walk() -> Iterator[Any]:
        with engine.model.stream(video, asked.texts, engine.processor) as stream:
            yield from stream

    steps, frames = walk(), []  # in the engine's thread frame by frame, so that pictures get their turn
    while (frame := engine.call(lambda: next(steps, None), bounded=False).result()) is not None:
        frames.append(frame)
    rate = float(shown.attr.get("framerate") or shown.attr.get("frameRate") or 24)
    regions = []
    for number, label in {entry.object_id: asked.labels[entry.request] for entry in frames[0].objects}.items():
        sequence = _sequence(frames, number, rate)
        if sequence:
            count, seconds = round(len(video) / (video.fps or rate) * rate), len(video) / (video.fps or rate)
            value = {"framesCount": count, "duration": seconds, "sequence": sequence, "labels": [label]}
            places = {"from_name": control.name, "to_name": shown.name, "type": "videorectangle"}
            regions.append({"id": f"object-{number}", **places, "value": value})
    return _prediction(regions)


def _sequence(frames: list[Any], number: int, rate: float) -> list[dict[str, Any]]:
    """Boxes of an object in percent, by Label Studio's frame numbers (from 1, at its own frame rate)."""
    found: dict[int, dict[str, Any]] = {}
    for frame in sorted(frames, key=lambda frame: frame.frame):
        place, entry = round(frame.timestamp * rate) + 1, next(e for e in frame.objects if e.object_id == number)
        if entry.box is not None:
            (x0, y0, x1, y1), x, y = entry.box, 100 / frame.width, 100 / frame.height
            percent = {"x": x0 * x, "y": y0 * y, "width": (x1 - x0) * x, "height": (y1 - y0) * y}
            found[place] = {"frame": place, "time": frame.timestamp, "enabled": True, "rotation": 0, **percent}
        elif found:
            found[max(found)]["enabled"] = False  # nothing is drawn from here to the next box
    return list(found.values())


def read_source(address: str, task: dict[str, Any]) -> Any:
    """The picture or video of a task: content, or what Label Studio hands out; no path, which could lead to others."""
    if address.startswith("data:"):
        return address
    if not address.startswith(_READ):
        raise ValueError(f"{address[:80]!r} is no address that Label Studio hands out")
    return Path(get_local_path(address, task_id=task.get("id"))).read_bytes()


def _control(config: LabelInterface, tag: str, to_name: str) -> Any:
    found = next((c for c in config.controls if c.tag == tag and to_name in c.to_name), None)
    if found is None:
        raise ValueError(f"the labelling configuration has no <{tag} toName={to_name!r}>, which the answers need")
    return found


def _prediction(regions: list[dict[str, Any]]) -> dict[str, Any]:
    scores = [region["score"] for region in regions if "score" in region]
    return {"model_version": VERSION, "result": regions, "score": sum(scores) / len(scores) if scores else 0.0}


if __name__ == "__main__":
    import uvicorn

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("model", "desa2va-tiny"), ("device", None), ("host", "127.0.0.1"), ("port", 9090)):
        parser.add_argument(f"--{name}", default=usual, type=int if name == "port" else str)
    args = parser.parse_args()
    uvicorn.run(create_app(Engine(*desa2va.load(args.model, device=args.device))), host=args.host, port=args.port)
