"""Fakes: a model that looks up what it was shown and answers as a test wants, read back by the real processor."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from desa2va.eval.refshapes_samples import draw_samples
from desa2va.modeling_desa2va.outputs import DeSa2VAGenerateOutput
from desa2va.training.data.refshapes.dataset import PICTURE_KINDS, VIDEO_KINDS

QUESTION_KINDS = ("no_target", "qa_color", "qa_count", "qa_exist")


@dataclass
class Reply:
    """A text with `[SEG]`, and for each of them a mask `(T, H, W)`; optionally other masks for the two branches."""

    text: str
    masks: np.ndarray
    score: float = 5.0
    text_masks: np.ndarray | None = None
    visual_masks: np.ndarray | None = None


class FakeModel(torch.nn.Module):
    """Answers with `reply(sample)`, where the sample is found by its first frame and the question."""

    def __init__(self, processor, samples, reply):
        super().__init__()
        self.config = SimpleNamespace(
            prompt_mode="sa2va", mask_threshold=0.0, object_score_threshold=0.0, track_strategy="memory"
        )
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.processor = processor
        self.known = {self._key(sample.frames[0], sample.conversations[0].turns[-1][0]): sample for sample in samples}
        self.reply = reply
        self.calls = []

    @staticmethod
    def _key(frame, question):
        return np.ascontiguousarray(frame).tobytes(), question

    def generate(self, visuals, texts, sequence_visual, task, max_new_tokens, return_branches, **inputs):
        assert task == "auto"
        assert not self.training
        self.calls.append(([info.key_frames for info in visuals], self.config.track_strategy))
        tokenizer, replies, owners = self.processor.tokenizer, [], []
        for number, (visual, text) in enumerate(zip(sequence_visual.tolist(), texts, strict=True)):
            replies.append(self.reply(self.known[self._key(visuals[visual].source.read([0])[0], text)]))
            owners += [number] * len(replies[-1].masks)
        ids = [tokenizer(reply.text, add_special_tokens=False).input_ids for reply in replies]
        assert max(map(len, ids)) <= max_new_tokens
        longest = max(map(len, ids)) + 1
        rows = [row + [tokenizer.eos_token_id] * (longest - len(row)) for row in ids]
        output = DeSa2VAGenerateOutput(
            sequences=torch.tensor(rows),
            object_sequence=torch.tensor(owners, dtype=torch.long),
            seg_probability=torch.ones(len(owners)),
            track_logits=[logits(mask) for reply in replies for mask in reply.masks],
            track_iou=[torch.ones(len(mask)) for reply in replies for mask in reply.masks],
            track_object_score=[torch.full((len(mask),), reply.score) for reply in replies for mask in reply.masks],
        )
        if return_branches and replies[0].text_masks is not None:
            output.text_logits = [logits(mask) for reply in replies for mask in reply.text_masks]
            output.visual_logits = [logits(mask) for reply in replies for mask in reply.visual_masks]
        return output


def logits(mask):
    """At source resolution, so that nothing is lost on the way back."""
    return torch.from_numpy(mask).half() * 16 - 8


def truth(sample):
    """The true answer to the last turn with its true masks."""
    conversation = sample.conversations[0]
    answer = conversation.turns[-1][1]
    return Reply(answer, conversation.masks[len(conversation.masks) - answer.count("[SEG]") :])


def all_foreground(sample):
    """One object that is everything in sight, whatever was asked."""
    return Reply("Sure, it is [SEG].", (sample.scene["instance_map"] > 0)[None])


@pytest.fixture(scope="session")
def replies():
    """`Reply`, and the two replies whose score is known."""
    return SimpleNamespace(Reply=Reply, truth=truth, all_foreground=all_foreground)


@pytest.fixture(scope="session")
def make_fake(processor):
    """Builds a `FakeModel` that knows `samples`, or every sample that `evaluate_refshapes` with the same numbers will
    show.
    """

    def make(reply, level="standard", limit=0, videos=0, samples=None):
        if samples is not None:
            return FakeModel(processor, samples, reply)
        data = ("test", level, 0)
        samples = list(draw_samples(*data, PICTURE_KINDS[level], limit))
        for kind in QUESTION_KINDS:
            samples += draw_samples(*data, {kind: 1.0}, limit)
        samples += draw_samples(*data, VIDEO_KINDS[level], videos, videos=True)
        return FakeModel(processor, samples, reply)

    return make
