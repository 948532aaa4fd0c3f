"""lmms-eval's tasks answered by a DeSa2VA: `lmms-eval --model desa2va --model_args pretrained=MODEL --tasks ...`.

Enters: requests of lmms-eval. Leaves: its replies: words for chat tasks; for `saco_*` masks with boxes and scores; for
`rvos_*` tracks of points. A request that can not be answered is answered with nothing, which counts as wrong, and the
log says why. (Engineering; no paper section.)
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from lmms_eval.protocol import ChatMessages

from desa2va.processing.inputs import open_visual
from desa2va.training.data.wording import segment_request

from .replies import masks_reply, tracks_reply

MASK_TASKS, TRACK_TASKS = "saco", "rvos"
_LONGEST = 1024

logger = logging.getLogger(__name__)


class DeSa2VA(lmms):
    """A model under lmms-eval.

    Args:
        pretrained: `desa2va-tiny`, a folder or a Hub id. sam2: see `desa2va.load`. device, dtype: likewise.
        batch_size: only 1: requests are answered one by one.

    Raises:
        ValueError: another batch size, or an argument that is not known.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str = "desa2va-tiny",
        sam2: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int | str = 1,
        **others: Any,
    ) -> None:
        super().__init__()
        unknown = sorted(set(others) - {"max_batch_size"})
        if unknown:
            raise ValueError(f"--model_args has the unknown {', '.join(unknown)}; known are pretrained, sam2, dtype")
        if int(batch_size) != 1:
            raise ValueError(f"the batch size must be 1, got {batch_size}")
        # The command line's floor; imported here because nothing else of this room may know it.
        from desa2va.hub import load

        self.model, self.processor = load(pretrained, sam2=sam2, device=device, dtype=dtype)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Answers in the order of the requests."""
        return [self._answer(*request.args) for request in requests]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Raises `ValueError`: answers are generated."""
        raise ValueError("desa2va answers tasks that generate; tasks of output_type loglikelihood can not be scored")

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Raises `ValueError`: every request is a conversation of its own."""
        raise ValueError("desa2va answers tasks of one round; tasks of several rounds can not be scored")

    def _answer(self, context: str, doc_to_messages: Any, options: Mapping, doc_id: int, task: str, split: str) -> str:
        doc = self.task_dict[task][split][doc_id]
        try:
            if task.startswith((MASK_TASKS, TRACK_TASKS)):
                return self._masks(doc_to_messages(doc), doc, task)
            return self._chat(doc_to_messages(doc), options)
        except (ValueError, FileNotFoundError) as error:
            logger.error("%s, document %s has no answer: %s", task, doc_id, error)
            return ""

    def _chat(self, messages: list[dict[str, Any]], options: Mapping[str, Any]) -> str:
        """Words alone."""
        visual, said = self._asked(messages)
        inputs = self.processor(**visual, text=said, task="chat")
        longest = int(options.get("max_new_tokens") or _LONGEST)
        outputs = self.model.generate(**inputs, max_new_tokens=longest)
        return self.processor.post_process(outputs, inputs)[0].text

    def _masks(self, messages: list[dict[str, Any]], doc: Mapping[str, Any], task: str) -> str:
        """Masks of what the document's expression means, if the model points at something."""
        visual, _ = self._asked(messages)
        inputs = self.processor(**visual, text=segment_request(str(doc["expression"])), task="auto")
        result = self.processor.post_process(self.model.generate(**inputs, max_new_tokens=_LONGEST), inputs)[0]
        if task.startswith(MASK_TASKS):
            return masks_reply(result)
        return tracks_reply(result, list(open_visual(visual["videos"][0]).timestamps))

    @staticmethod
    def _asked(messages: list[dict[str, Any]]) -> tuple[dict[str, list[Any]], str]:
        """What is shown and what is said.

        Raises:
            ValueError: nothing that is shown, sound, or several visuals.
        """
        images, videos, sounds = ChatMessages(messages=messages).extract_media()
        if sounds or len(images) + len(videos) != 1:
            raise ValueError(
                f"one picture or one video is answered about, not {len(images)} pictures, {len(videos)} videos and "
                f"{len(sounds)} sounds"
            )
        parts = [part["text"] for turn in messages for part in turn["content"] if part["type"] == "text"]
        return {"images": images} if images else {"videos": videos}, "\n".join(parts)


__all__ = ["DeSa2VA"]
