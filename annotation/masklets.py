"""Masklets of any kind of file: SA-V's JSON, palette folders (DAVIS, YouTube-VOS), saved sessions; one type leaves.

A folder of videos and a folder of masks enter. `find_sources` lists what there is by names alone, `read_clip` reads
one video's masks: one code per annotated frame and object, checked, and what is wrong with the others in a sentence.
(Sa2VA, section 3.3: the pipeline starts from SA-V's masklets.)
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from desa2va.modeling_desa2va.session import read_session
from desa2va.processing.files import Code, mask_area
from desa2va.processing.inputs import IMAGE_EXTENSIONS, open_visual
from desa2va.training.data.readers import STRIDE, index_codes, masklet_codes, read_masklet
from desa2va.training.data.record_media import measure
from desa2va.training.data.records import Dialogue, Record

MIN_COVER = 0.001  # of a frame; what is smaller on every frame is too small to be described
VIDEO_SUFFIXES = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"}
_KINDS = "SA-V's *.json, a folder of mask pictures for every video, or files of DeSa2VASession.save"
_NOTHING_SAID = (Dialogue("unlabelled", (("", ""),)),)
Codes = tuple[Code | None, ...]


@dataclass(frozen=True)
class Source:
    """One video and the file or folder of its masks, by name; nothing is read yet.

    Attributes:
        name: unique within a run. video: a file or a folder of frames; `None` where none was found. masks: of it.
        kind: `"sav"`, `"palette"` or `"session"`.
    """

    name: str
    video: Path | None
    masks: Path
    kind: str

    @property
    def identity(self) -> list[str | int]:
        """What tells whether the same is meant: names and the size of the masks."""
        files = [self.masks] if self.masks.is_file() else sorted(self.masks.glob("*.png"))
        return [self.name, self.kind, len(files), sum(file.stat().st_size for file in files)]


@dataclass(frozen=True)
class Masklet:
    """One object of one video.

    Attributes:
        video, number: its name; `number` is what the mask file calls it. codes: per frame of the clip, `None` where
            it is not seen. At least one frame shows `MIN_COVER` of it.
    """

    video: str
    number: str
    codes: Codes

    @property
    def key(self) -> tuple[str, str]:
        """Unique within a run."""
        return self.video, self.number


@dataclass(frozen=True)
class Clip:
    """A video with its masklets.

    Attributes:
        source: where it comes from. record: its frames, for `read_frames`; `None` where nothing can be read.
        masklets: those that can be described. skipped: by object (`""`: all of them) why it is left out.
    """

    source: Source
    record: Record | None
    masklets: tuple[Masklet, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)


def find_sources(videos: Path, masklets: Path) -> list[Source]:
    """Every mask file below a folder with its video, sorted by name.

    Args:
        videos: a folder with videos or folders of frames at any depth, or a single one. masklets: likewise.

    Raises:
        FileNotFoundError: one of them is not there. ValueError: masks of no kind that is known, or two of one name.
    """
    for path in (videos, masklets):
        if not path.exists():
            raise FileNotFoundError(f"there is no file or folder {path}")
    known = _videos_by_name(videos)
    found = list(_mask_files(masklets))
    if not found:
        raise ValueError(f"{masklets} holds no masklets that are known: {_KINDS}")
    only = next(iter(known.values())) if len(known) == len(found) == 1 else None
    sources = [Source(name, known.get(of_video, only), path, kind) for name, of_video, path, kind in found]
    sources.sort(key=lambda source: source.name)
    for before, after in zip(sources, sources[1:], strict=False):
        if before.name == after.name:
            raise ValueError(f"{before.masks} and {after.masks} have one name; masklets need names of their own")
    return sources


def _videos_by_name(videos: Path) -> dict[str, Path]:
    """Video files by their stem, folders of frames by their path below `videos`."""
    if videos.is_file():
        return {videos.stem: videos}
    found: dict[str, Path] = {}
    for folder, folders, files in os.walk(videos, followlinks=True):
        folders.sort()
        place = Path(folder)
        if any(Path(name).suffix.lower() in IMAGE_EXTENSIONS for name in files):
            found[place.name if place == videos else place.relative_to(videos).as_posix()] = place
        for name in sorted(files):
            if Path(name).suffix.lower() in VIDEO_SUFFIXES:
                found.setdefault(Path(name).stem, place / name)
    return found


def _mask_files(masklets: Path) -> Iterator[tuple[str, str, Path, str]]:
    """Name, name of the video, path and kind of every mask file."""
    if masklets.is_file():
        places = [(str(masklets.parent), [masklets.name])]
    else:
        places = [(folder, sorted(files)) for folder, _, files in os.walk(masklets, followlinks=True)]
    for folder, files in places:
        place = Path(folder)
        for name in files:
            path = place / name
            if path.suffix == ".json":
                yield path.stem, path.stem.removesuffix("_manual").removesuffix("_auto"), path, "sav"
            elif path.suffix not in IMAGE_EXTENSIONS and zipfile.is_zipfile(path):
                yield path.stem, _video_of_session(path), path, "session"
        if masklets.is_dir() and any(name.endswith(".png") for name in files):
            name = place.name if place == masklets else place.relative_to(masklets).as_posix()
            yield name, name, place, "palette"


def _video_of_session(path: Path) -> str:
    """The name of its video; that of the file where it is broken, which `read_clip` tells."""
    try:
        return Path(read_session(path).video_name).stem
    except ValueError:
        return path.stem


def read_clip(source: Source) -> Clip:
    """The masklets of a video; what is wrong is a reason in `skipped`, never an error."""
    try:
        if source.video is None:
            raise ValueError(f"there is no video or folder of frames called like {source.masks}")
        record, tracks, wrong = _READERS[source.kind](source.video, source)
    except (ValueError, OSError) as error:
        return Clip(source, None, skipped={"": " ".join(f"not readable: {error}".split())})
    if not (tracks or wrong):
        wrong[""] = "no object: all masks are empty"
    masklets = []
    for number, codes in tracks.items():
        reason = _too_small(codes, record.size)
        if reason is None:
            masklets.append(Masklet(source.name, number, codes))
        else:
            wrong[number] = reason
    return Clip(source, record, tuple(masklets), wrong)


def _too_small(codes: Codes, size: tuple[int, int]) -> str | None:
    """Why an object is not worth describing."""
    share = max((mask_area(code) for code in codes if code is not None), default=0) / (size[0] * size[1])
    if not share:
        return "no frame shows it"
    return None if share >= MIN_COVER else f"too small: at most {share:.3%} of a frame, less than {MIN_COVER:.1%}"


def _record(source: Source, paths: tuple[str, ...], size: tuple[int, int], num_frames: int, stride: int = 1) -> Record:
    return Record(source.name, paths, True, size, num_frames, _NOTHING_SAID, str(source.masks), stride=stride)


_Read = tuple[Record, dict[str, Codes], dict[str, str]]


def _read_sav(video: Path, source: Source) -> _Read:
    """Masks on every fourth frame; objects are called by their place."""
    size, length = measure((str(video),), True)
    masklet = read_masklet(str(source.masks), length)
    tracks, wrong = {}, {}
    for number in map(str, range(max(map(len, masklet), default=0))):
        try:
            tracks[number] = masklet_codes(masklet, number, size)
        except ValueError as error:
            wrong[number] = f"not readable: {error}"
    return _record(source, (str(video),), size, len(masklet), STRIDE), tracks, wrong


def _read_palette(video: Path, source: Source) -> _Read:
    """Masks on the frames that have a picture of the same name."""
    if not video.is_dir():
        raise ValueError(f"{source.masks} are named like frames, but {video} is no folder of frames")
    frames = [Path(path) for path in open_visual(str(video)).paths]
    masks = {path.stem: path for path in source.masks.glob("*.png")}
    alone = sorted(masks.keys() - {path.stem for path in frames})
    if alone:
        raise ValueError(
            f"{source.masks} has {len(masks)} masks, {len(alone)} of them belong to no frame of {video}, which has "
            f"{len(frames)}: the first is {alone[0]}"
        )
    paths = tuple(os.path.abspath(path) for path in frames if path.stem in masks)
    size, num_frames = measure(paths, True)
    tracks, _ = index_codes([str(masks[Path(path).stem]) for path in paths], size)
    named = {str(number): codes for number, codes in sorted(tracks.items())}
    return _record(source, paths, size, num_frames), named, {}


def _read_session(video: Path, source: Source) -> _Read:
    """Every object of a saved session, on every frame."""
    size, num_frames = measure((str(video),), True)
    file = read_session(source.masks)
    about = file.header.video
    if (about.height, about.width, about.num_frames) != (*size, num_frames):
        raise ValueError(
            f"{source.masks} belongs to a video of {about.width} x {about.height} pixels and {about.num_frames} "
            f"frames; {video} has {size[1]} x {size[0]} and {num_frames}"
        )
    tracks = {str(number): codes for number, codes in file.codes().items()}
    return _record(source, (str(video),), size, num_frames), tracks, {}


_READERS: dict[str, Callable[[Path, Source], _Read]] = {
    "sav": _read_sav,
    "palette": _read_palette,
    "session": _read_session,
}

__all__ = ["MIN_COVER", "Clip", "Masklet", "Source", "find_sources", "read_clip"]
