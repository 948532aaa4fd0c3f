"""One typed training sample: a picture or a short video, and what is said about it.

Every loader and generator yields `Sample`; `DeSa2VAProcessor.collate` consumes it. The conversations of a sample
become separate sequences that share the sample's vision and SAM-2 encodings (one encoding per frame, whatever is
asked).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

SEG = "[SEG]"


@dataclass(frozen=True)
class Conversation:
    """What is said about one visual.

    Attributes:
        turns: `(user, assistant)` pairs. `"[SEG]"` in the assistant's text marks an object; phrases it belongs to
            may be wrapped as `"<p> phrase </p> [SEG]"`. Text of the user never carries control tokens.
        masks: bool array `(O, T, H, W)`, one entry per `[SEG]` of the turns, in order of appearance. `O` may be 0.
            A frame in which the object is absent holds an empty mask.
        labels: `O` ground-truth phrases (paper section 3.3), e.g. `"small red circle"`; read alone by the text branch.
        kind: what is asked, e.g. `"attribute"`, `"relation"`, `"no_target"`, `"qa_color"`; groups scores.
        regions: bool array `(R, H, W)` of visual prompts drawn for the language model on the first frame, or `None`.
        targets: for every object the index of the scene object it refers to, where the generator knows it, else `()`.
    """

    turns: tuple[tuple[str, str], ...]
    masks: np.ndarray
    labels: tuple[str, ...] = ()
    kind: str = ""
    regions: np.ndarray | None = None
    targets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        num_seg = sum(answer.count(SEG) for _, answer in self.turns)
        if self.masks.ndim != 4:
            raise ValueError(f"masks must be (objects, frames, height, width), got shape {self.masks.shape}")
        if num_seg != len(self.masks) or len(self.labels) != len(self.masks):
            raise ValueError(
                f"conversation {self.turns!r}: {num_seg} [SEG] in the answers, {len(self.masks)} masks and "
                f"{len(self.labels)} labels; the three numbers must agree"
            )


@dataclass(frozen=True)
class Sample:
    """One visual and its conversations.

    Attributes:
        frames: uint8 array `(T, H, W, 3)` RGB, or `None` for text-only samples.
        conversations: at least one.
        is_video: a video of `T` frames; a picture has `T == 1`.
        name: where it comes from, e.g. `"refshapes/train/17"`; named in every error about the sample.
        scene: dense ground truth of generated scenes: `instance_map` (T, H, W) uint8 (0 background, k object k-1) and
            `objects`, a list of dicts with the factors of each object. Empty for real data.
        seconds: of each frame since the first one of the video, where it is known; by default the frames are taken to
            follow one another.

    Raises:
        ValueError: another number of `seconds` than of frames.
    """

    frames: np.ndarray | None
    conversations: tuple[Conversation, ...]
    is_video: bool = False
    name: str = ""
    scene: dict[str, Any] = field(default_factory=dict)
    seconds: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None and (self.frames is None or len(self.seconds) != len(self.frames)):
            count = 0 if self.frames is None else len(self.frames)
            raise ValueError(f"sample {self.name!r}: {len(self.seconds)} seconds for {count} frames")


__all__ = ["SEG", "Conversation", "Sample"]
