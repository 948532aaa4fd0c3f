"""DeSa2VA for FiftyOne's model zoo: this folder is a remote source, `manifest.json` says which models it has.

model = foz.load_zoo_model("desa2va", model="desa2va-tiny", text=["the red circle"])
dataset.apply_model(model, label_field="found")  # or text_field="question": the request is a field of each sample
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import desa2va
import fiftyone.core.labels as fol
from desa2va.serving.engine import Question, answer_questions
from fiftyone.core.models import Model, SamplesMixin


def download_model(model_name: str, model_path: str) -> None:
    """Called once by FiftyOne. There is nothing to fetch: weights are found by `desa2va.load`, by their own name."""
    Path(model_path).write_text(f"{model_name}: weights are loaded by desa2va.load\n", encoding="utf-8")


def load_model(model_name: str, model_path: str, **kwargs: Any) -> DeSa2VAZooModel:
    """Called by `load_zoo_model` with its further arguments."""
    return DeSa2VAZooModel(**kwargs)


class DeSa2VAZooModel(SamplesMixin, Model):
    """Masks of what is asked, as `fiftyone.Detections`.

    Args:
        model: shipped name, folder or Hub id. device: as `desa2va.load` takes it.
        text: requests about every picture. text_field: field of the samples with the request (or a list of them) about
            each; then `text` is not needed.

    Raises:
        ValueError: nothing is asked.
    """

    def __init__(
        self,
        model: str = "desa2va-tiny",
        device: str | None = None,
        text: str | list[str] | None = None,
        text_field: str | None = None,
    ) -> None:
        SamplesMixin.__init__(self)
        if (text is None) == (text_field is None):
            raise ValueError("say what to segment: text=, or text_field= with the field of the samples that says it")
        self._text = [text] if isinstance(text, str) else text
        self._own_fields = {} if text_field is None else {"text": text_field}
        self._model, self._processor = desa2va.load(model, device=device)

    @property
    def needs_fields(self) -> dict[str, str]:
        """The fields of samples that are read, by what they say. `apply_model` sets those of its own call, none where
        it was given none; the model's are kept.
        """
        return {**self._own_fields, **self._fields}

    @needs_fields.setter
    def needs_fields(self, fields: dict[str, str]) -> None:
        self._fields = fields

    @property
    def media_type(self) -> str:
        """Pictures; videos are `result.to_fiftyone(t)`, see docs/results.md."""
        return "image"

    @property
    def ragged_batches(self) -> bool:
        """Pictures of one batch may have different sizes."""
        return True

    @property
    def transforms(self) -> None:
        """None: the processor takes pictures as they are."""
        return None

    @property
    def preprocess(self) -> bool:
        """False: see `transforms`."""
        return False

    @preprocess.setter
    def preprocess(self, value: bool) -> None:
        if value:
            raise ValueError("pictures are taken as they are")

    def predict(self, arg: np.ndarray, sample: Any = None) -> fol.Detections:
        """Of one picture, uint8 (H, W, 3)."""
        return self.predict_all([arg], samples=None if sample is None else [sample])[0]

    def predict_all(self, args: list[np.ndarray], samples: list[Any] | None = None) -> list[fol.Detections]:
        """Of several pictures, in one pass."""
        samples = [None] * len(args) if samples is None else samples
        questions = [Question(np.asarray(arg), self._asked(sample)) for arg, sample in zip(args, samples, strict=True)]
        answers = answer_questions(self._model, self._processor, questions)
        return [
            fol.Detections(detections=[one for result in results for one in result.to_fiftyone().detections])
            for results in answers
        ]

    def _asked(self, sample: Any) -> list[str]:
        """The requests about a sample."""
        if not self.needs_fields:
            return list(self._text)
        name = self.needs_fields["text"]
        value = None if sample is None else sample[name]
        if not value:
            raise ValueError(f"the sample has nothing in its field {name!r}, which says what to segment")
        return [value] if isinstance(value, str) else list(value)


__all__ = ["DeSa2VAZooModel", "download_model", "load_model"]
