"""Training samples to the plan of a batch.

In: `Sample`s of `desa2va.training.data.sample`. Out: a `BatchPlan` for `BatchAssembler`. Every conversation of a
sample is a sequence of its own; they share the images of the sample, and every frame is a key frame of the objects.
Nothing is repaired: what does not fit together is an error that names the sample (paper section 3.1).
"""

from __future__ import annotations

from typing import Any

from desa2va.processing.inputs import draw_regions, frame_seconds

from .batch_assembly import BatchPlan, SequencePlan

SEG = "[SEG]"


def plan_training(samples: list[Any], max_tiles: int, every_frame: bool = False) -> BatchPlan:
    """Plans the batch.

    Args:
        samples: at least one; text-only samples (`frames=None`) may be among them.
        max_tiles: most tiles of a picture; frames of a video are never cut.
        every_frame: SAM-2 sees the frames of samples without a `[SEG]` too; else nothing is resized or encoded for
            what no mask is drawn on.

    Raises:
        ValueError: no samples, masks that do not fit the frames or the `[SEG]` of the answers, or regions without a
            picture.
    """
    if not samples:
        raise ValueError("collate needs at least one sample, got an empty list")
    plan = BatchPlan()
    num_visuals = 0
    for sample in samples:
        visual = -1
        if sample.frames is not None:
            visual, num_visuals = num_visuals, num_visuals + 1
            if every_frame or any(len(conversation.masks) for conversation in sample.conversations):
                plan.add_sam_frames(list(sample.frames), visual)
        _plan_conversations(plan, sample, visual, 1 if sample.is_video else max_tiles)
    return plan


def _plan_conversations(plan: BatchPlan, sample: Any, visual: int, max_tiles: int) -> None:
    """Adds the conversations of a sample; they share its images where no region is drawn."""
    shared: dict[int, int] = {}
    for conversation in sample.conversations:
        _check_conversation(sample, conversation)
        images = []
        for index, frame in enumerate(() if sample.frames is None else sample.frames):
            if index == 0 and conversation.regions is not None:
                images.append(plan.add_image(draw_regions(frame, conversation.regions), max_tiles))
                continue
            if index not in shared:
                shared[index] = plan.add_image(frame, max_tiles)
            images.append(shared[index])
        messages = []
        for question, answer in conversation.turns:
            messages += [("user", question), ("assistant", answer)]
        name = f"sample {sample.name!r}, {conversation.kind or 'conversation'}"
        plan.sequences.append(SequencePlan(messages, images, visual, _seconds(sample), name))


def _seconds(sample: Any) -> list[float] | None:
    """Seconds of the frames of a video; counted from its first frame on where the sample does not state them."""
    if not sample.is_video or sample.frames is None:
        return None
    return frame_seconds(None, range(len(sample.frames))) if sample.seconds is None else list(sample.seconds)


def _check_conversation(sample: Any, conversation: Any) -> None:
    """Raises `ValueError` naming the sample when masks, `[SEG]`, labels or regions do not fit together."""
    num_seg = sum(answer.count(SEG) for _, answer in conversation.turns)
    if not num_seg == len(conversation.masks) == len(conversation.labels):
        raise ValueError(
            f"sample {sample.name!r}: {num_seg} [SEG] in the answers, {len(conversation.masks)} masks and "
            f"{len(conversation.labels)} labels; the three numbers must agree"
        )
    if sample.frames is None:
        if num_seg or conversation.regions is not None:
            raise ValueError(f"sample {sample.name!r} has no picture, but masks or regions; give frames")
        return
    if num_seg and conversation.masks.shape[1:] != sample.frames.shape[:3]:
        raise ValueError(
            f"sample {sample.name!r}: masks are (frames, height, width) = {conversation.masks.shape[1:]}, the frames "
            f"are {sample.frames.shape[:3]}; masks must have the frames' number and size"
        )


__all__ = ["plan_training"]
