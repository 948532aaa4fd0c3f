"""RefShapes, part one: what a scene holds and how it becomes masks.

A keyed random generator enters; a `Scene` (factors of every object, exact visible masks) leaves; `paint.py`
turns it into frames. Shapes are drawn without anti-aliasing, so a mask is exactly the set of pixels its object paints.
Lengths below are in pixels at 128 x 128 and scale with the side of the picture. The paper names no procedural set.

Factors: 6 shapes, 8 colours (jittered), 2 sizes (radius 12-15 and 19-26), small rotations, 4 kinds of desaturated
textured background, pixel noise of standard deviation 3-14. Objects may overlap; at least 60 % of each stays visible
in the first frame that shows it. In videos every object moves left, right, up or down at 4-9 px a frame (slower in
long videos: nobody travels further than 40 % of the picture), one may appear late, and one may pass behind another
object or behind a grey panel, which belongs to no object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .geometry import SHAPES, inside_shape

REFERENCE_SIZE = 128
COLORS = {
    "red": (215, 40, 40),
    "green": (40, 170, 60),
    "blue": (45, 80, 215),
    "yellow": (235, 210, 50),
    "purple": (150, 60, 190),
    "orange": (240, 135, 30),
    "white": (240, 240, 240),
    "cyan": (60, 205, 215),
}
COLOR_NAMES = tuple(COLORS)
SIZES = ("small", "large")
RADII = {"small": (12.0, 15.0), "large": (19.0, 26.0)}
MOTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
SPEED = (4.0, 9.0)
MAX_TRAVEL = 0.4
MIN_VISIBLE = 0.6
OCCLUDED_BELOW = 0.5
MAX_OBJECTS = {"easy": 4, "standard": 5, "full": 6}
MAX_ATTEMPTS = 20_000
PANEL = 255


@dataclass(frozen=True)
class SceneObject:
    """One shape and its straight path.

    Attributes:
        shape: one of `SHAPES`.
        color: one of `COLORS`.
        size: "small" or "large".
        center_x: pixels, in the first frame that shows the object.
        center_y: as `center_x`.
        radius: pixels.
        angle: rotation in radians, clockwise on the screen.
        motion: one of `MOTIONS`, or "" for an object at rest.
        speed: pixels per frame.
        first_frame: 0, or the frame in which a late object appears.
    """

    shape: str
    color: str
    size: str
    center_x: float
    center_y: float
    radius: float
    angle: float
    motion: str = ""
    speed: float = 0.0
    first_frame: int = 0

    def center(self, frame: int) -> tuple[float, float]:
        """Centre in pixels at `frame` (meaningful from `first_frame` on)."""
        step_x, step_y = MOTIONS.get(self.motion, (0.0, 0.0))
        travelled = self.speed * (frame - self.first_frame)
        return self.center_x + step_x * travelled, self.center_y + step_y * travelled

    @property
    def label(self) -> str:
        """The full phrase: size, colour and shape, e.g. "small red circle"."""
        return f"{self.size} {self.color} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """A drawn scene, before painting.

    Attributes:
        objects: from the lowest to the topmost.
        label_map: `(T, H, W)` uint8: 0 background, k the visible pixels of object k-1, 255 the grey panel.
        visible: `(T, O)` float in [0, 1]: visible share of each object's own area, 0 while it is absent.
    """

    objects: tuple[SceneObject, ...]
    label_map: np.ndarray
    visible: np.ndarray

    @property
    def instance_map(self) -> np.ndarray:
        """`(T, H, W)` uint8: 0 background, k object k-1."""
        return np.where(self.label_map == PANEL, 0, self.label_map).astype(np.uint8)

    def mask(self, index: int) -> np.ndarray:
        """`(T, H, W)` bool: the visible pixels of object `index`."""
        return self.label_map == index + 1

    def describe(self) -> list[dict[str, Any]]:
        """Factors of every object as plain values (lengths in pixels)."""
        return [
            {
                "shape": item.shape,
                "color": item.color,
                "size": item.size,
                "center_x": item.center_x,
                "center_y": item.center_y,
                "radius": item.radius,
                "angle": item.angle,
                "motion": item.motion,
                "speed": item.speed,
                "first_frame": item.first_frame,
                "visible": [round(float(share), 4) for share in self.visible[:, index]],
            }
            for index, item in enumerate(self.objects)
        ]


@dataclass(frozen=True)
class Panel:
    """A grey rectangle at rest in front of everything; pixels."""

    left: float
    top: float
    right: float
    bottom: float


def sample_picture(
    rng: np.random.Generator,
    level: str,
    size: int,
    accept: Callable[[Sequence[SceneObject]], bool],
    hidden: Container[str] = (),
) -> Scene:
    """Draw one picture's scene.

    Args:
        rng: the sample's generator.
        level: a key of `MAX_OBJECTS`.
        size: side of the picture in pixels.
        accept: test on the objects before anything is rasterised, e.g. "a relation can be asked".
        hidden: labels that no object has.

    Raises:
        RuntimeError: no acceptable scene within `MAX_ATTEMPTS` draws.
    """
    for attempt in range(MAX_ATTEMPTS):
        if level != "full" or attempt % 150 == 0:  # elsewhere crowded draws fail more often: few objects prevail
            count = int(rng.integers(2, MAX_OBJECTS[level] + 1))
        objects = _draw_objects(rng, count, size, hidden)
        if not _far_apart(objects, 0.75) or not accept(objects):
            continue
        scene = rasterise(objects, 1, size)
        if scene.visible.min() >= MIN_VISIBLE:
            return scene
    raise RuntimeError(f"no scene of level {level!r} at {size} px within {MAX_ATTEMPTS} draws")


def sample_video(
    rng: np.random.Generator,
    size: int,
    num_frames: int,
    events: frozenset[str],
    accept: Callable[[Sequence[SceneObject], np.ndarray], bool],
    hidden: Container[str] = (),
) -> Scene:
    """Draw one video's scene of 2-4 objects (3-4 when both events are asked).

    Args:
        rng: the sample's generator.
        size: side of the frames in pixels.
        num_frames: at least 2.
        events: subset of {"late", "occlusion"} that must happen.
        accept: test on `(objects, visible)` after the masks are known, before painting.
        hidden: labels that no object has.

    Raises:
        RuntimeError: no acceptable scene within `MAX_ATTEMPTS` draws.
    """
    for _ in range(MAX_ATTEMPTS):
        count = int(rng.integers(max(2, 1 + len(events)), 5))
        objects, panel = _draw_moving(rng, _draw_objects(rng, count, size, hidden), size, num_frames, events)
        if not _far_apart(objects[:-1] if "occlusion" in events else objects, 0.9):
            continue
        if not _stays_inside(objects, num_frames, size):
            continue
        scene = rasterise(objects, num_frames, size, panel)
        first = [item.first_frame for item in objects]
        if scene.visible[first, range(count)].min() >= MIN_VISIBLE and accept(objects, scene.visible):
            return scene
    raise RuntimeError(f"no video scene with events {sorted(events)} at {size} px within {MAX_ATTEMPTS} draws")


def _draw_objects(rng: np.random.Generator, count: int, size: int, hidden: Container[str]) -> list[SceneObject]:
    """Independent objects; later ones copy the shape (40 %) or the colour (20 %) of object 0; hidden ones again."""
    objects: list[SceneObject] = []
    for draw in rng.random((count, 8)).tolist():
        item = _object(draw, objects[:1], size)
        while item.label in hidden:
            item = _object(rng.random(8).tolist(), objects[:1], size)
        objects.append(item)
    return objects


def _object(draw: Sequence[float], first: Sequence[SceneObject], size: int) -> SceneObject:
    """The object of eight numbers in [0, 1), beside the first one where there is any."""
    size_name = SIZES[draw[0] >= 0.5]
    low, high = RADII[size_name]
    radius = size / REFERENCE_SIZE * (low + (high - low) * draw[1])
    shape, color = SHAPES[int(draw[2] * len(SHAPES))], COLOR_NAMES[int(draw[3] * len(COLOR_NAMES))]
    if first and draw[4] < 0.4:
        shape = first[0].shape
    elif first and draw[4] < 0.6:
        color = first[0].color
    room = size - 2 * radius
    x, y = radius + room * draw[5], radius + room * draw[6]
    return SceneObject(shape, color, size_name, x, y, radius, 0.7 * (draw[7] - 0.5))


def _draw_moving(
    rng: np.random.Generator, still: Sequence[SceneObject], size: int, num_frames: int, events: frozenset[str]
) -> tuple[list[SceneObject], Panel | None]:
    """Objects with paths. With "occlusion", object 0 goes behind the last object or behind a panel at half time."""
    limit = MAX_TRAVEL * size / (num_frames - 1)
    scale = size / REFERENCE_SIZE
    low, high = min(0.6 * limit, SPEED[0] * scale), min(limit, SPEED[1] * scale)
    objects = [
        replace(item, motion=str(rng.choice(tuple(MOTIONS))), speed=float(rng.uniform(low, high))) for item in still
    ]
    panel = None
    if "late" in events:
        start = max(1, num_frames // 3)
        late = 1 if "occlusion" in events else int(rng.integers(len(objects)))
        objects[late] = replace(objects[late], first_frame=int(rng.integers(start, max(start, num_frames // 2) + 1)))
    if "occlusion" in events:
        meeting = num_frames // 2
        x, y = objects[0].center(meeting)
        if rng.random() < 0.5:
            along, across = rng.uniform(0.7, 1.0) * objects[0].radius, 1.35 * objects[0].radius
            half_x, half_y = (along, across) if objects[0].motion in ("left", "right") else (across, along)
            panel = Panel(x - half_x, y - half_y, x + half_x, y + half_y)
        else:
            passer = objects[-1]
            step_x, step_y = MOTIONS[passer.motion]
            travelled = meeting * passer.speed
            objects[-1] = replace(passer, center_x=x - step_x * travelled, center_y=y - step_y * travelled)
    return objects, panel


def _far_apart(objects: Sequence[SceneObject], factor: float) -> bool:
    """Whether all centres are at least `factor` times the summed radii apart."""
    for i, a in enumerate(objects):
        for b in objects[:i]:
            if math.hypot(a.center_x - b.center_x, a.center_y - b.center_y) < factor * (a.radius + b.radius):
                return False
    return True


def _stays_inside(objects: Sequence[SceneObject], num_frames: int, size: int) -> bool:
    """Whether every centre stays in the picture, and starts at least half a radius from its edge."""
    for item in objects:
        edge = 0.5 * item.radius
        if not all(edge <= value <= size - edge for value in item.center(item.first_frame)):
            return False
        if not all(0 <= value <= size for value in item.center(num_frames - 1)):
            return False
    return True


def rasterise(objects: Sequence[SceneObject], num_frames: int, size: int, panel: Panel | None = None) -> Scene:
    """Turn factors into visible masks; later objects cover earlier ones, the panel covers all."""
    label_map = np.zeros((num_frames, size, size), np.uint8)
    area = np.ones((num_frames, len(objects)))
    for frame in range(num_frames):
        for index, item in enumerate(objects):
            if frame >= item.first_frame:
                rows, columns, inside = _object_mask(item, frame, size)
                label_map[frame, rows, columns][inside] = index + 1
                area[frame, index] = max(1, np.count_nonzero(inside))
    if panel is not None:
        edges = [max(0, round(value)) for value in (panel.top, panel.bottom, panel.left, panel.right)]
        label_map[:, edges[0] : edges[1], edges[2] : edges[3]] = PANEL
    seen = np.stack([np.bincount(frame.ravel(), minlength=256)[1 : len(objects) + 1] for frame in label_map])
    return Scene(tuple(objects), label_map, seen / area)


def _object_mask(item: SceneObject, frame: int, size: int) -> tuple[slice, slice, np.ndarray]:
    """The object's own pixels within its bounding box: `(rows, columns, (h, w) bool)`. Pixel centres decide."""
    center_x, center_y = item.center(frame)
    reach = 1.25 * item.radius + 1
    left, right = max(0, int(center_x - reach)), max(0, min(size, int(center_x + reach) + 1))
    top, bottom = max(0, int(center_y - reach)), max(0, min(size, int(center_y + reach) + 1))
    dx = np.arange(left, right, dtype=np.float32)[None, :] + (0.5 - center_x)
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] + (0.5 - center_y)
    return slice(top, bottom), slice(left, right), inside_shape(item.shape, item.radius, item.angle, dx, dy)


__all__ = [
    "COLORS",
    "COLOR_NAMES",
    "MAX_OBJECTS",
    "MIN_VISIBLE",
    "MOTIONS",
    "OCCLUDED_BELOW",
    "PANEL",
    "REFERENCE_SIZE",
    "SHAPES",
    "SIZES",
    "Panel",
    "Scene",
    "SceneObject",
    "rasterise",
    "sample_picture",
    "sample_video",
]
