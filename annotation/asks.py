"""What a describer is asked, and what every describer is: words in, words out.

An `Ask` holds all that any describer needs, so that the stages do not know who answers. (Sa2VA, section 3.3.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Ask:
    """One question about one object.

    Attributes:
        key: video and number of the masklet. step: which of `stages.STEPS`. prompt: the words.
        pictures: uint8 `(H, W, 3)` each. masks: where the object is on them, bool `(H, W)`; for those who measure, a
            model is not shown them. said: what earlier steps answered.
        choices: where one of a few words is wanted, these.
    """

    key: tuple[str, str]
    step: str
    prompt: str
    pictures: tuple[np.ndarray, ...] = ()
    masks: tuple[np.ndarray, ...] = ()
    said: Mapping[str, str] = field(default_factory=dict)
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unanswered:
    """A question that got no answer and may be asked again in a later run; `reason` tells why."""

    reason: str


class Describer(Protocol):
    """Who answers.

    Attributes:
        identity: what tells it from others, plain values; a run goes on with the same one only.
    """

    identity: dict[str, Any]

    def answers(self, asks: Sequence[Ask]) -> Iterator[dict[int, str | Unanswered]]:
        """Answers by the place of their ask, in groups: a group is finished, and kept, before the next one begins.

        Args:
            asks: of one step, no more than fit at a time.

        Raises:
            OSError, ValueError: nobody answers any more; groups that were handed over stay.
        """

    def spent(self) -> tuple[int, int]:
        """Tokens of requests and of answers since the last call; zeros where nobody counts."""


__all__ = ["Ask", "Describer", "Unanswered"]
