"""The pipeline on videos whose truth is known: are its statements true, are conflicts dropped?

RefShapes videos are written as frames and palette pictures, as anybody's would lie on disk. Some crops are exchanged
for another object of another colour, which is what a masklet that jumped looks like; the check should drop exactly
these. What the measuring describer states (colour, place, movement) is compared with the truth. (Engineering; no paper
section.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from desa2va.processing.files import decode_mask, write_index_png
from desa2va.training.data.record_media import read_frames
from desa2va.training.data.refshapes import RefShapes

from .asks import Ask, Describer, Unanswered
from .frames import crop_slices, largest_frame
from .masklets import Source, find_sources, read_clip
from .measured import STILL

SIDE = 128
NUM_FRAMES = 8
PLANTED_EVERY = 3  # of the objects whose video has another one of another colour
_TOLERANCE = 0.05  # of a side: the middle of what is seen of an object is not the object's own
_STATED = re.compile(
    r"The (?P<color>\w+) object is in the (?P<place>[a-z ]+) of the picture .* it (?P<motion>moves [a-z ]+|stays)"
)
_WAYS = {"to the left": "left", "to the right": "right", "up": "up", "down": "down"}
Key = tuple[str, str]


def write_videos(folder: Path, count: int, seed: int = 0) -> list[Source]:
    """Writes videos below an existing folder, where they are not there yet.

    Args:
        folder: of `frames/`, `masks/` and `truth.json`. count: number of videos. seed: of the world.

    Raises:
        ValueError: the folder holds another number of videos, or another world.
    """
    wanted = {"count": count, "seed": seed}
    path = folder / "truth.json"
    if not path.is_file():
        data = RefShapes(
            "validation", "full", seed=seed, size=SIDE, length=count, video_fraction=1.0, num_frames=NUM_FRAMES
        )
        truth = {}
        for number in range(count):
            sample, name = data[number], f"shapes-{number:05d}"
            _write_video(folder, name, sample.frames, sample.scene["instance_map"])
            truth[name] = sample.scene["objects"]
        path.write_text(json.dumps({**wanted, "videos": truth}), encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    if {name: found[name] for name in wanted} != wanted:
        raise ValueError(f"{folder} holds {found['count']} videos of seed {found['seed']}; choose another --out")
    return find_sources(folder / "frames", folder / "masks")


def _write_video(folder: Path, name: str, frames: np.ndarray, numbers: np.ndarray) -> None:
    for kind in ("frames", "masks"):
        (folder / kind / name).mkdir(parents=True, exist_ok=True)
    for frame, (pixels, labels) in enumerate(zip(frames, numbers, strict=True)):
        Image.fromarray(pixels).save(folder / "frames" / name / f"{frame:05d}.png")
        write_index_png(labels, folder / "masks" / name / f"{frame:05d}.png", overwrite=True)


def read_truth(folder: Path) -> dict[Key, dict[str, Any]]:
    """The factors of every object, by video and number in the mask pictures."""
    videos = json.loads((folder / "truth.json").read_text(encoding="utf-8"))["videos"]
    return {(video, str(k)): entry for video, objects in videos.items() for k, entry in enumerate(objects, 1)}


def planted(truth: Mapping[Key, Mapping[str, Any]]) -> dict[Key, str]:
    """Objects whose crop shows another one, with the number of that one."""
    others = {
        key: [number for (video, number), other in truth.items() if video == key[0] and other["color"] != own["color"]]
        for key, own in truth.items()
    }
    possible = [key for key, numbers in others.items() if numbers]
    return {key: others[key][0] for key in possible[::PLANTED_EVERY]}


class PlantingDescriber:
    """A describer that is shown another object's crop where a conflict is planted.

    Args:
        inner: who answers. sources: of all videos. plants: see `planted`.
    """

    def __init__(self, inner: Describer, sources: Sequence[Source], plants: Mapping[Key, str]) -> None:
        self.inner, self.plants = inner, plants
        self.sources = {source.name: source for source in sources}
        self.identity = {**inner.identity, "planted": len(plants)}

    def answers(self, asks: Sequence[Ask]) -> Iterator[dict[int, str | Unanswered]]:
        """Those of the other, who knows nothing of it."""
        return self.inner.answers([self._exchanged(ask) for ask in asks])

    def spent(self) -> tuple[int, int]:
        """What the other spent."""
        return self.inner.spent()

    def _exchanged(self, ask: Ask) -> Ask:
        if ask.step != "crop" or ask.key not in self.plants:
            return ask
        clip = read_clip(self.sources[ask.key[0]])
        other = next((found for found in clip.masklets if found.number == self.plants[ask.key]), None)
        if other is None:  # too small to be described, so nothing is planted after all
            return ask
        frame = largest_frame(other.codes)
        mask = decode_mask(other.codes[frame])
        place = crop_slices(mask)
        pixels = read_frames(clip.record, [frame])[0]
        return replace(ask, pictures=(pixels[place],), masks=(mask[place],))


def check_rows(
    rows: Sequence[Mapping[str, Any]], truth: Mapping[Key, Mapping[str, Any]], plants: Mapping[Key, str]
) -> dict[str, Any]:
    """Statements that are true, and how well conflicts are told.

    Returns:
        `statements`, `true` and the `false` ones; `planted`, `dropped` by the check, its `precision` and `recall`.
    """
    checked = {(row["video"], row["object"]): row for row in rows if any(_is_check(e) for e in row.get("steps", ()))}
    dropped = {key for key, row in checked.items() if any(_is_check(e) and "dropped" in e for e in row["steps"])}
    real = {key for key in plants if key in checked}
    stated = [statement for row in rows if row["status"] == "complete" for statement in _statements(row, truth)]
    return {
        "statements": len(stated),
        "true": sum(holds for _, holds in stated),
        "false": [told for told, holds in stated if not holds],
        "checked": len(checked),
        "planted": len(real),
        "dropped": len(dropped),
        "precision": round(len(dropped & real) / len(dropped), 4) if dropped else None,
        "recall": round(len(dropped & real) / len(real), 4) if real else None,
    }


def _is_check(entry: Mapping[str, Any]) -> bool:
    return entry["step"] == "check"


def _statements(row: Mapping[str, Any], truth: Mapping[Key, Mapping[str, Any]]) -> Iterator[tuple[str, bool]]:
    """What a long expression states, and whether it holds; nothing of words that are not the measuring describer's."""
    found = _STATED.search(row["long"])
    if found is None:
        return
    own = truth[row["video"], row["object"]]
    frame = next(entry["frames"][0] for entry in row["steps"] if entry["step"] == "scene")
    where = f"{row['video']}, object {row['object']}"
    yield f"{where}: {found['color']}", found["color"] == own["color"]
    yield f"{where}: {found['place']}", _is_there(found["place"], own, frame)
    yield f"{where}: {found['motion']}", _moves(found["motion"], own)


def _is_there(place: str, own: Mapping[str, Any], frame: int) -> bool:
    """Whether the object's middle lies in the ninth of the picture that is named, or close to it."""
    words = place.split() if place != "middle" else ["middle", "middle"]
    steps = frame - own["first_frame"]
    x = own["center_x"] + {"left": -1, "right": 1}.get(own["motion"], 0) * own["speed"] * steps
    y = own["center_y"] + {"up": -1, "down": 1}.get(own["motion"], 0) * own["speed"] * steps
    ninths = (("upper", "middle", "lower"), ("left", "middle", "right"))
    for value, word, names in zip((y / SIDE, x / SIDE), words, ninths, strict=True):
        least = names.index(word) / 3
        if not least - _TOLERANCE <= value <= least + 1 / 3 + _TOLERANCE:
            return False
    return True


def _moves(words: str, own: Mapping[str, Any]) -> bool:
    """Whether the object goes that way alone; at rest is also what hardly moves while it is there."""
    seen = [frame for frame, share in enumerate(own["visible"]) if share]
    if words == "stays":
        return own["speed"] * (seen[-1] - seen[0]) / SIDE < 2 * STILL
    return _WAYS.get(words.removeprefix("moves ")) == own["motion"]


__all__ = ["PlantingDescriber", "check_rows", "planted", "read_truth", "write_videos"]
