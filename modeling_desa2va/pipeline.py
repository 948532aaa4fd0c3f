"""transformers' `pipeline("referring-segmentation", ...)`: pictures and videos in, what their words name out.

Enters: a picture, a video, rows or columns of `datasets`, lists and generators of these, and what is asked. Leaves: a
`SegmentationResult` for each request. It needs nothing but a model's `generate` and its processor, and travels with
every exported folder, where `custom_pipelines` of `config.json` names it. (Engineering; no paper section.)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

from torch.utils.data import DataLoader, Dataset
from transformers import Pipeline
from transformers.pipelines.pt_utils import PipelineDataset, PipelineIterator

from desa2va.processing.files import MaskOptions
from desa2va.processing.inputs import WORDED_TASKS, open_visual, refuse_without_video, shown, visual_kind

TASK = "referring-segmentation"
MAX_NEW_TOKENS = 128
_MARKS = ("points", "boxes", "masks")
_OF_VIDEOS = ("key_frames", "num_key_frames")
_PROCESSOR_OPTIONS = ("task", *_OF_VIDEOS, "chat_template", *_MARKS)
_MASK_OPTIONS = tuple(item.name for item in fields(MaskOptions))
_KINDS = ("image", "video")  # and the keys under which a row holds one


@dataclass
class Asked:
    """One picture or video and what is asked about it.

    Attributes:
        kind: `"image"` or `"video"`.
        visual: anything the processor takes as one.
        text: one request, or several; `None` where the task or marked objects say what is wanted.
    """

    kind: str
    visual: Any
    text: str | list[str] | None


class ReferringSegmentationPipeline(Pipeline):
    """Segments what words name.

    `pipe(inputs, text=...)`. One input is a picture or a video (path, address, PIL image, array, list of frames under
    the key "video", torchcodec's decoder, ...) or a row with `image` or `video`, and `text`; it gives one
    `SegmentationResult`, or a list where `text` is a list of requests. A list of inputs gives a list; a generator, a
    data set or a column gives an iterator, which reads as it goes.

    Options, given here or at construction: `task` ("segment"), `key_frames`, `num_key_frames` as of the processor, for
    the videos among the inputs (where there is none one picture is refused, and many are warned about),
    whose `points`, `boxes` and `masks` mark objects in every input (columns of these names are never taken: they may
    be the truth). Where these or the task say what is wanted `text` may be left out. Further those of `MaskOptions`;
    `batch_size`, `num_workers`; anything else (`max_new_tokens`, `return_branches`, ...) goes to `generate`.

    Args:
        model: a `DeSa2VAModel`. processor: its own; `model.processor` when omitted.
        options: of transformers' `Pipeline`, and the above.

    Raises:
        ValueError: there is no processor.
    """

    _load_processor = None  # a model that is handed over may hold its own
    _load_tokenizer = _load_image_processor = _load_feature_extractor = _load_video_processor = False

    def __init__(self, model: Any, processor: Any = None, **options: Any) -> None:
        processor = getattr(model, "processor", None) if processor is None else processor
        if processor is None:
            raise ValueError(
                f"{TASK} needs the model's processor; give processor=AutoProcessor.from_pretrained(...), or a folder "
                "that holds one"
            )
        super().__init__(model, processor=processor, **options)

    def save_pretrained(self, save_directory: str | os.PathLike, **options: Any) -> None:
        """Writes model, processor and code, as `model.save_pretrained` does."""
        self.model.save_pretrained(save_directory, **options)
        self.processor.save_pretrained(save_directory)

    def __call__(self, inputs: Any, text: str | list[str] | None = None, **options: Any) -> Any:
        """See the class.

        Args:
            inputs: one input or many.
            text: what is asked; a list asks one input several things, and each input of a list of inputs one.

        Raises:
            ValueError: nothing is asked of an input, or there are other numbers of inputs and texts.
            TypeError: an input of an unknown kind.
        """
        if text is not None:
            options["text"] = text
        if isinstance(inputs, list | tuple):
            if isinstance(text, list):
                inputs = _paired(inputs, options.pop("text"))
            # transformers looks at the first entry of a list.
            return super().__call__(list(inputs), **options) if inputs else []
        if isinstance(inputs, Mapping) or visual_kind(inputs) is not None:
            return super().__call__(inputs, **options)
        if isinstance(inputs, Sized) and hasattr(inputs, "__getitem__"):
            return super().__call__(_Rows(inputs), **options)
        if isinstance(inputs, str) or not hasattr(inputs, "__iter__"):
            raise TypeError(f"expected a picture, a video, a row, or many of these, got {shown(inputs)}")
        return super().__call__((entry for entry in inputs), **options)

    def _sanitize_parameters(self, text: Any = None, **options: Any) -> tuple[dict, dict, dict]:
        groups = {"processing": _PROCESSOR_OPTIONS, "masks": _MASK_OPTIONS}
        forward = {
            name: {option: options.pop(option) for option in known if option in options}
            for name, known in groups.items()
        }
        forward["generation"] = options
        reading = {} if text is None else {"text": text}
        asked = forward["processing"]
        if asked.get("task") in WORDED_TASKS or any(asked.get(name) is not None for name in _MARKS):
            reading["wordless"] = True
        return reading, {name: part for name, part in forward.items() if part}, {}

    def preprocess(self, inputs: Any, text: str | list[str] | None = None, wordless: bool = False) -> Asked:
        """What one input asks, which may need no words (`wordless`); nothing is decoded yet."""
        if isinstance(inputs, Asked):
            return inputs
        row = inputs if isinstance(inputs, Mapping) else {}
        kinds = [kind for kind in _KINDS if row.get(kind) is not None]
        if len(kinds) > 1:
            raise ValueError("a row holds an image and a video; give one of them")
        text = row.get("text") if text is None else text
        if text == [] or (text is None and not wordless):
            raise ValueError(f"nothing is asked about {shown(inputs)}; give text=, or a row with 'text'")
        if kinds:
            return Asked(kinds[0], row[kinds[0]], text)
        visual = row.get("bytes") or row.get("path") if row else inputs
        kind = visual_kind(visual)
        if kind is None:
            raise TypeError(f"expected a picture, a video, or a row with 'image' or 'video', got {shown(inputs)}")
        return Asked(kind, visual, text)

    def _forward(
        self,
        model_inputs: dict[str, list[Asked]],
        processing: dict[str, Any] | None = None,
        masks: dict[str, Any] | None = None,
        generation: dict[str, Any] | None = None,
    ) -> dict[str, list[Any]]:
        """Answers a batch: neighbours of one kind together, an input with several requests by itself."""
        processing = {"task": "segment", **(processing or {})}
        generation = {"max_new_tokens": MAX_NEW_TOKENS, **(generation or {})}

        marked = any(processing.get(name) is not None for name in _MARKS)
        listed = processing["task"] == "region"  # a result for each region where there are no words

        def answer(kind: str, visuals: list[Any], text: list[str] | None) -> list[Any]:
            opened = visuals if kind == "image" else [open_visual(visual) for visual in visuals]
            chosen = {name: value for name, value in processing.items() if kind == "video" or name not in _OF_VIDEOS}
            inputs = self.processor(**{f"{kind}s": opened}, text=text, **chosen)
            return self.processor.post_process(self.model.generate(**inputs, **generation), inputs, **(masks or {}))

        def together(place: tuple[int, Asked]) -> tuple[str, bool, int | None]:
            number, asked = place
            return asked.kind, asked.text is None, number if marked or isinstance(asked.text, list) else None

        results: list[Any] = []
        for (kind, silent, alone), group in groupby(enumerate(model_inputs["asked"]), key=together):
            asked = [entry for _, entry in group]
            texts = None if silent else [entry.text for entry in asked]
            if alone is None:
                results += answer(kind, [entry.visual for entry in asked], texts)
            elif isinstance(asked[0].text, list) or (silent and listed):
                results.append(answer(kind, [asked[0].visual], asked[0].text))
            else:
                results += answer(kind, [asked[0].visual], texts)
        return {"results": results}

    def postprocess(self, model_outputs: dict[str, list[Any]]) -> list[Any]:
        """One entry per input of the batch."""
        return model_outputs["results"]

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Iterator[Any]:
        """The results, one after the other; inputs are read a batch at a time.

        transformers' own pads tensors of single inputs to a batch, which the processor does better. At the end it
        warns where options chose frames of videos and none came.
        """
        if isinstance(inputs, Sized):
            rows = PipelineDataset(inputs, self.preprocess, preprocess_params)
        else:  # of what can only be walked through, each worker would read everything
            rows, num_workers = PipelineIterator(inputs, self.preprocess, preprocess_params), 0
        kinds: set[str] = set()
        for asked in DataLoader(rows, batch_size, num_workers=num_workers, collate_fn=list):
            kinds |= {entry.kind for entry in asked}
            yield from self.postprocess(self.forward({"asked": asked}, **forward_params), **postprocess_params)
        given = [f"{name}=" for name, value in _of_videos(forward_params).items() if value is not None]
        if given and "video" not in kinds:
            warnings.warn(f"{' and '.join(given)} changed nothing: no video came; leave them out", stacklevel=2)

    def run_single(self, inputs: Any, *params: dict[str, Any]) -> Any:
        """The result of one input."""
        asked = self.preprocess(inputs, **params[0])
        refuse_without_video([asked.kind], **_of_videos(params[1]))
        return next(self.get_iterator([asked], 0, 1, *params))


def _of_videos(forward_params: dict[str, Any]) -> dict[str, Any]:
    """The options about frames of videos."""
    return {name: forward_params.get("processing", {}).get(name) for name in _OF_VIDEOS}


class _Rows(Dataset):
    """Anything with a length and places, as transformers knows a data set to be read lazily."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Any:
        return self.rows[place]


def _paired(inputs: Sequence[Any], texts: list[str]) -> list[dict[str, Any]]:
    """Rows of inputs and what is asked of each."""
    if len(inputs) != len(texts):
        raise ValueError(f"{len(inputs)} inputs but {len(texts)} texts; give one text for each, or one for all")
    rows = []
    for entry, text in zip(inputs, texts, strict=True):
        row = dict(entry) if isinstance(entry, Mapping) else {visual_kind(entry) or "video": entry}
        rows.append({**row, "text": text})
    return rows


__all__ = ["TASK", "ReferringSegmentationPipeline"]
