"""RefShapes: a procedural data set of pictures and short videos of shapes, with exact masks and true sentences.

An index enters, a `Sample` leaves, the same one in every process and in any order: all randomness comes from a
generator keyed by (seed, split, index), so no two splits and no two indices share a stream.

Levels (pictures; the shares of the conversation kinds in brackets, see `language.py` for their meaning):

* `easy`: 2-4 objects [attribute].
* `standard`: 2-5 objects [attribute .5, relation .3, superlative .2].
* `full`: 2-6 objects [attribute .3, relation .2, superlative .1, negation .1, multiple .15, no_target .15].

Videos (2-4 objects): easy [attribute], standard [attribute .4, motion .3, late .15, occlusion .15], full [attribute
.3, motion .3, late .1, occlusion .1, multiple .1, no_target .1]. Every target but that of kind "late" is visible in
the first frame. Further kinds on request, for pictures and videos: `set`; for pictures: `look_alike`, `qa_color`,
`qa_count`, `qa_exist`, `qa_where`, `caption` (grounded), `caption_plain`, `region`, `verify` and `example` (visual
prompts), `turns` and `mixed_turns` (dialogues); for videos: `video_caption` (grounded), `video_caption_plain` and
`video_region` (on the first frame).

The kind of every conversation is drawn first. A picture is drawn until it can carry the kind of its first
conversation, a video until it can carry the late and occlusion kinds drawn; with one conversation a sample the shares
of pictures hold exactly. Other conversations whose kind is impossible fall back to another possible kind.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from desa2va.argument_types import unknown_name
from desa2va.training.data.sample import Conversation, Sample

from .kinds import ALL_PICTURE_KINDS, ALL_VIDEO_KINDS, ANSWER_KINDS, EVENTS, expressions_of
from .language import Expression, request
from .paint import paint
from .restrictions import Restrictions
from .scene import MAX_OBJECTS, REFERENCE_SIZE, Scene, SceneObject, sample_picture, sample_video

PICTURE_KINDS = {
    "easy": {"attribute": 1.0},
    "standard": {"attribute": 0.5, "relation": 0.3, "superlative": 0.2},
    "full": {
        "attribute": 0.3,
        "relation": 0.2,
        "superlative": 0.1,
        "negation": 0.1,
        "multiple": 0.15,
        "no_target": 0.15,
    },
}
VIDEO_KINDS = {
    "easy": {"attribute": 1.0},
    "standard": {"attribute": 0.4, "motion": 0.3, "late": 0.15, "occlusion": 0.15},
    "full": {"attribute": 0.3, "motion": 0.3, "late": 0.1, "occlusion": 0.1, "multiple": 0.1, "no_target": 0.1},
}
VERSION = 1  # raise it whenever a change alters any sample: caches and published figures depend on it
LABEL_SORTS = ("canonical", "expression")
# The project's own, and those of the public sets whose layouts `disk` writes.
SPLITS = ("train", "validation", "test", "val", "testA", "testB", "valid", "valid_u")


class RefShapes:
    """Map-style data set: `dataset[i]` is a `Sample`.

    Args:
        split: one of `SPLITS`; part of the key of every random stream.
        level: "easy", "standard" or "full".
        seed: another seed gives another world.
        size: side of the square pictures in pixels.
        length: number of samples in an epoch; see `set_epoch`.
        conversations: conversations per sample.
        kinds: shares of the conversation kinds in place of the level's; need not sum to one. With both pictures and
            videos each draws among the kinds it knows.
        relation_scenes: share of the pictures redrawn until a relation can be asked, whatever their first conversation
            is about (of the pictures drawn freely about 28 % allow one).
        video_fraction: share of the samples that are videos.
        num_frames: frames per video, at least 2.
        held_out: labels such as "small red circle" that no object has; see `Restrictions`.
        targets_held_out: the other side of `held_out`: every target is one of them.
        unasked: colours and shapes that nothing said names, though pictures show them; see `Restrictions`.
        targets_unasked: the other side of `unasked`: every target is named by one of them.
        labels: "canonical" ("small red circle" whatever was asked) or "expression" (what was said of the target).
        pool: only so many different samples exist; they come again, in a new order each time.

    Raises:
        ValueError: an unknown level, split, kind, label, word or sort of labels, a share outside [0, 1], a number that
            is too small, or kinds that no picture (video) can have.
    """

    def __init__(
        self,
        split: str,
        level: str = "standard",
        *,
        seed: int = 0,
        size: int = REFERENCE_SIZE,
        length: int = 10_000,
        conversations: int = 4,
        kinds: dict[str, float] | None = None,
        relation_scenes: float = 0.0,
        video_fraction: float = 0.0,
        num_frames: int = 6,
        held_out: Sequence[str] = (),
        targets_held_out: bool = False,
        unasked: Sequence[str] = (),
        targets_unasked: bool = False,
        labels: str = "canonical",
        pool: int | None = None,
    ) -> None:
        for what, name, known in (
            ("level", level, MAX_OBJECTS),
            ("split", split, SPLITS),
            ("labels", labels, LABEL_SORTS),
        ):
            if name not in known:
                raise ValueError(f"{what} {unknown_name(str(name), known)}")
        for name, value, least in (
            ("size", size, 32),
            ("length", length, 0),
            ("conversations", conversations, 1),
            ("num_frames", num_frames, 2),
            ("pool", 1 if pool is None else pool, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        for name, share in (("relation_scenes", relation_scenes), ("video_fraction", video_fraction)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {share}")
        self.split, self.level, self.seed, self.version = split, level, seed, VERSION
        self.size, self.length, self.conversations = size, length, conversations
        self.relation_scenes, self.video_fraction, self.num_frames = relation_scenes, video_fraction, num_frames
        self.labels, self.pool = labels, pool
        self.restrictions = Restrictions(
            frozenset(held_out), frozenset(unasked), targets_held_out=targets_held_out, targets_unasked=targets_unasked
        )
        self.epoch = 0
        self.picture_kinds = _restrict(kinds or PICTURE_KINDS[level], ALL_PICTURE_KINDS, video_fraction < 1)
        self.video_kinds = _restrict(kinds or VIDEO_KINDS[level], ALL_VIDEO_KINDS, video_fraction > 0)

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Epoch e holds the samples `e * length` and following of an endless stream; without `pool` none repeats."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> Sample:
        """The sample at `index`; see `with_expressions`."""
        return self.with_expressions(index)[0]

    def with_expressions(self, index: int) -> tuple[Sample, tuple[Expression, ...]]:
        """The sample at `index` and, for each of its conversations, the bare expression that was asked.

        Raises:
            IndexError: `index` is outside the data set.
        """
        if not -self.length <= index < self.length:
            raise IndexError(f"index {index} is outside RefShapes {self.split!r} of length {self.length}")
        index = self._place(self.epoch * self.length + int(index) % self.length)
        key = np.random.SeedSequence(self.seed, spawn_key=(zlib.crc32(self.split.encode()), index))
        scene_rng, language_rng = (np.random.default_rng(child) for child in key.spawn(2))
        is_video = bool(scene_rng.random() < self.video_fraction)
        shares = self.video_kinds if is_video else self.picture_kinds
        kinds = [_draw(language_rng, shares) for _ in range(self.conversations)]
        scene = self._video(scene_rng, kinds) if is_video else self._picture(scene_rng, kinds[0])
        expressions = self._express(language_rng, scene, kinds, shares)
        sample = Sample(
            frames=paint(scene, scene_rng),
            conversations=tuple(self._conversation(language_rng, scene, expression) for expression in expressions),
            is_video=is_video,
            name=f"refshapes/{self.split}/{index}",
            scene={"instance_map": scene.instance_map, "objects": scene.describe()},
        )
        return sample, expressions

    def _place(self, index: int) -> int:
        """Where in the endless stream the sample is made; with a pool every pass has an order of its own."""
        if self.pool is None:
            return index
        passes, place = divmod(index, self.pool)
        key = np.random.SeedSequence(self.seed, spawn_key=(zlib.crc32(f"{self.split} pool".encode()), passes))
        return int(np.random.default_rng(key).permutation(self.pool)[place])

    def _picture(self, rng: np.random.Generator, kind: str) -> Scene:
        """A picture's scene that can carry `kind`, an attribute and, for `relation_scenes`, a relation."""
        needs_relation = rng.random() < self.relation_scenes
        wanted = dict.fromkeys(("attribute", kind, *(("relation",) if needs_relation else ())))
        visible = np.ones((1, MAX_OBJECTS["full"]))

        def accept(objects: Sequence[SceneObject]) -> bool:
            return all(self._can_say(name, objects, visible, rng) for name in wanted)

        return sample_picture(rng, self.level, self.size, accept, self.restrictions.hidden)

    def _video(self, rng: np.random.Generator, kinds: Sequence[str]) -> Scene:
        """A video's scene that can carry the late and occlusion conversations drawn for it."""
        events = frozenset(kinds) & frozenset(EVENTS)

        def accept(objects: Sequence[SceneObject], visible: np.ndarray) -> bool:
            wanted = ("attribute", *sorted(events))
            return all(self._can_say(kind, objects, visible, rng) for kind in wanted)

        return sample_video(rng, self.size, self.num_frames, events, accept, self.restrictions.hidden)

    def _sayable(
        self, kind: str, objects: Sequence[SceneObject], visible: np.ndarray, rng: np.random.Generator
    ) -> Iterator[Expression]:
        """Everything of one kind that can and may be said of the scene; random numbers are drawn before the first."""
        expressions = expressions_of(kind, objects, visible, rng, self.size / REFERENCE_SIZE)
        return (expression for expression in expressions if self.restrictions.allow(expression, objects))

    def _can_say(
        self, kind: str, objects: Sequence[SceneObject], visible: np.ndarray, rng: np.random.Generator
    ) -> bool:
        return any(True for _ in self._sayable(kind, objects, visible, rng))

    def _express(
        self, rng: np.random.Generator, scene: Scene, kinds: Sequence[str], shares: dict[str, float]
    ) -> tuple[Expression, ...]:
        """One expression per drawn kind; texts repeat only when nothing else can be said."""
        said: set[str] = set()
        chosen = []
        for kind in kinds:
            others = [other for other in shares if other != kind]
            for candidate in (kind, *rng.permutation(others).tolist(), "attribute"):
                choices = list(self._sayable(candidate, scene.objects, scene.visible, rng))
                if choices:
                    break
            fresh = [choice for choice in choices if choice.text not in said or choice.region is not None]
            choices = fresh or choices
            chosen.append(choices[int(rng.integers(len(choices)))])
            said.add(chosen[-1].text)
        return tuple(chosen)

    def _conversation(self, rng: np.random.Generator, scene: Scene, expression: Expression) -> Conversation:
        """Wrap an expression into one turn with masks `(O, T, H, W)` and labels."""
        is_request = expression.kind not in ANSWER_KINDS
        masks = np.zeros((len(expression.targets), *scene.label_map.shape), bool)
        for row, target in enumerate(expression.targets):
            masks[row] = scene.mask(target)
        labels = expression.phrases
        if self.labels == "canonical":
            labels = [scene.objects[target].label for target in expression.targets]
        return Conversation(
            turns=(
                *expression.earlier,
                (request(rng, expression) if is_request else expression.text, expression.answer),
            ),
            masks=masks,
            labels=tuple(labels),
            kind=expression.kind,
            regions=None if expression.region is None else scene.mask(expression.region)[:1],
            targets=expression.targets,
        )


def _restrict(kinds: dict[str, float], known: Sequence[str], needed: bool) -> dict[str, float]:
    """The shares of `kinds` that this sort of sample knows.

    Raises:
        ValueError: a kind nobody knows, a negative share, or nothing left although it is needed.
    """
    everything = {*ALL_PICTURE_KINDS, *ALL_VIDEO_KINDS}
    unknown = sorted(set(kinds) - everything)
    if unknown or min(kinds.values()) < 0:
        raise ValueError(f"kinds must map names among {sorted(everything)} to shares >= 0, got {kinds}")
    left = {kind: share for kind, share in kinds.items() if kind in known and share > 0}
    if needed and not left:
        raise ValueError(f"none of the kinds {sorted(kinds)} is possible here; possible are {list(known)}")
    return left


def _draw(rng: np.random.Generator, shares: dict[str, float]) -> str:
    """One kind by its share."""
    point = rng.random() * sum(shares.values())
    for kind, share in shares.items():
        point -= share
        if point < 0:
            return kind
    return kind


__all__ = ["PICTURE_KINDS", "VERSION", "VIDEO_KINDS", "RefShapes"]
