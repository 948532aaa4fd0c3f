"""The path of a picture's pixels as ONNX graphs, and a check that they say what the model says.

What enters: a model in float32. What leaves: `encoder.onnx` (SAM-2's image encoder), `projections.onnx` (from the
states of `[SEG]` to the two prompts), `decoder.onnx` (both language decoders, fusion and re-prompt), `onnx.json` (what
goes in and out). The language model and the tracker are not among them: docs/onnx.md. (Paper sections 3.2 to 3.4,
Eq. 11.)
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from desa2va.modeling_desa2va.outputs import ImageFeatures
from desa2va.processing.files import output_folder

ENCODER, PROJECTIONS, DECODER, DESCRIPTION = "encoder.onnx", "projections.onnx", "decoder.onnx", "onnx.json"
LEVELS = ("high0", "high1", "low")
PROMPTS = ("text_prompts", "visual_prompts")
MASKS = ("logits", "iou_scores", "object_scores")


class _Encoder(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.segmenter = model.segmenter

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.segmenter.encode_frames(pixel_values)
        return features.high0, features.high1, features.low


class _Projections(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoupling = model.decoupling

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        text, visual = self.decoupling(states)
        return (visual,) if text is None else (text, visual)


class _Decoder(nn.Module):
    """Without text prompts in mode `sa2va`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, high0: torch.Tensor, high1: torch.Tensor, low: torch.Tensor, *prompts: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        visual, text = prompts[-1], prompts[0] if len(prompts) == 2 else None
        frames = torch.zeros(visual.shape[0], dtype=torch.long)  # `len` would be a constant of the graph
        kept = self.model.decode_prompts(ImageFeatures(high0, high1, low), frames, text, visual)[1].fused
        return kept.logits, kept.iou, kept.object_score


@dataclass(frozen=True)
class Parity:
    """How far the graphs are from the model, on one picture and request.

    Attributes:
        features, logits: greatest absolute difference of the encodings and of the mask logits.
        scores: of predicted IoU and object score. iou: least IoU of the masks.
    """

    features: float
    logits: float
    scores: float
    iou: float


def export_onnx(model: Any, processor: Any, out_dir: str | os.PathLike) -> Path:
    """Writes the graphs into a folder that is complete or absent.

    Args:
        model: a `DeSa2VAModel` in eval mode, on the CPU and in float32. processor: its `DeSa2VAProcessor`.
        out_dir: absent or empty.

    Raises:
        ImportError: onnx or onnxscript is not installed. ValueError: a model in another precision, or elsewhere than
            on the CPU. FileExistsError: the target holds files.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"ONNX needs more packages ({error}): pip install 'desa2va[onnx]'") from error
    if model.dtype != torch.float32 or model.device.type != "cpu":
        raise ValueError(
            f"the graphs are made of float32 weights on the CPU, the model is {model.dtype} on {model.device}"
        )
    two = model.config.prompt_mode == "desa2va"
    prompts = PROMPTS if two else PROMPTS[1:]
    side, width = model.segmenter.sam.image_size, model.segmenter.sam.config.prompt_encoder_config.hidden_size
    pixels = torch.zeros(1, 3, side, side)
    with output_folder(out_dir, None) as folder, torch.no_grad():
        levels = _Encoder(model)(pixels)
        states = torch.zeros(2, model.config.get_text_config().hidden_size)
        objects = torch.export.Dim("objects")
        _write(_Encoder(model), (pixels,), folder / ENCODER, ("pixel_values",), LEVELS, None)
        _write(_Projections(model), (states,), folder / PROJECTIONS, ("states",), prompts, ({0: objects},))
        given = (*levels, *(torch.zeros(2, width) for _ in prompts))
        shapes = (None, None, None, tuple({0: objects} for _ in prompts))
        try:
            _write(_Decoder(model), given, folder / DECODER, (*LEVELS, *prompts), MASKS, shapes)
        finally:
            model.segmenter._kept_codes = None  # what tracing left there has no values
        (folder / DESCRIPTION).write_text(json.dumps(_description(model, processor), indent=2) + "\n")
    return Path(out_dir)


def _write(
    module: nn.Module, given: tuple, path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...], shapes: Any
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names of axes and attributes of tracing
        torch.onnx.export(
            module.eval(),
            given,
            path,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )


def _description(model: Any, processor: Any) -> dict[str, Any]:
    images, config = processor.sam_image_processor, model.config
    return {
        "image_size": model.segmenter.sam.image_size,
        "image_mean": list(images.image_mean),
        "image_std": list(images.image_std),
        "prompt_mode": config.prompt_mode,
        "mask_threshold": config.mask_threshold,
        "object_score_threshold": config.object_score_threshold,
    }


def check_parity(model: Any, processor: Any, folder: str | os.PathLike, picture: Any, text: str) -> Parity:
    """Compares the graphs with the model on one picture: the language model answers, and both draw what it marks.

    Args:
        model, processor: the graphs are of. folder: written by `export_onnx`. picture, text: as the processor takes
            them.

    Raises:
        ImportError: onnxruntime is not installed. ValueError: the model marks nothing.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"the check needs onnxruntime ({error}): pip install 'desa2va[onnx]'") from error
    batch = processor(images=picture, text=text, task="segment")
    answer = model.answer_key_frames(**batch, max_new_tokens=128)
    if not len(answer.object_sequence):
        raise ValueError(f"{text!r}: the model marks nothing, so there is nothing to compare")
    sessions = {
        name: onnxruntime.InferenceSession(os.path.join(folder, name), providers=["CPUExecutionProvider"])
        for name in (ENCODER, DECODER)
    }
    seen, prompts = answer.visuals[0], answer.prompts
    given = {} if prompts.text is None else {PROMPTS[0]: prompts.text[:, 0].numpy()}
    given[PROMPTS[1]] = prompts.visual[:, 0].numpy()
    levels = sessions[ENCODER].run(list(LEVELS), {"pixel_values": batch["sam_pixel_values"].numpy()})
    drawn = sessions[DECODER].run(list(MASKS), {**dict(zip(LEVELS, levels, strict=True)), **given})
    wanted = [seen.masks[name][:, 0].numpy() for name in ("logits", "iou", "object_score")]
    features = [_distance(got, seen.features[name].numpy()) for name, got in zip(LEVELS, levels, strict=True)]
    apart = [_distance(got, want) for got, want in zip(drawn, wanted, strict=True)]
    threshold = model.config.mask_threshold
    overlaps = [_iou(got > threshold, want > threshold) for got, want in zip(drawn[0], wanted[0], strict=True)]
    return Parity(max(features), apart[0], max(apart[1:]), min(overlaps))


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max())


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


__all__ = ["Parity", "check_parity", "export_onnx"]
