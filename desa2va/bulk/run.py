"""The work itself: this process' share of the items, one batch of pictures or one video at a time.

What enters: items and a model. What leaves: rows in the journal, and where wanted a folder for each item as
`desa2va segment` writes it. An item that can not be done is named with its reason, and the rest goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from desa2va.commands.common import input_kind
from desa2va.commands.frames import FirstFrames
from desa2va.commands.picture_folder import number_through, write_results
from desa2va.processing.files import MaskOptions, output_folder, write_json
from desa2va.processing.inputs import load_image, open_visual, plain_source, prefetch, visual_kind
from desa2va.processing.results import SegmentationResult, collect_frames
from desa2va.program import error_line, one_line
from desa2va.serving.engine import Question, answer_questions

from .items import Item, Items
from .journal import Journal
from .report import write_errors, write_report


@dataclass(frozen=True)
class BulkSettings:
    """What is asked, and how.

    Attributes:
        what: requests about each item. task, max_new_tokens: see `DeSa2VAProcessor` and `generate`.
        video: arguments of `model.stream`. max_frames: of each video; all when `None`. options: of the masks.
        batch: questions about pictures that are gathered for one pass. table_only: no folder for each item.
        about: what tells this run from another, in plain types.
    """

    what: list[str]
    task: str = "segment"
    max_new_tokens: int = 128
    video: dict[str, Any] = field(default_factory=dict)
    max_frames: int | None = None
    options: MaskOptions = field(default_factory=MaskOptions)
    batch: int = 1
    table_only: bool = False
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Opened:
    """An item whose picture is in memory, or whose video is open; or why that failed."""

    item: Item
    kind: str = ""
    visual: Any = None
    requests: list[str] = field(default_factory=list)
    error: BaseException | None = None


def run_items(
    model: Any, processor: Any, items: Items, out: Path, settings: BulkSettings, rank: int = 0, count: int = 1
) -> dict[str, Any]:
    """Does what is left of this process' share: items `rank`, `rank + count`, ...

    Args:
        model, processor: of the run. items: all of them. out: folder of the run; made here, or that of a run to go on.
        rank, count: of this process.

    Returns:
        The report, see `write_report`; complete where this process was the last one.

    Raises:
        ValueError: the folder holds another run, or another process does the same share.
    """
    begin_run(out, {**settings.about, "items": items.identity})
    journal = Journal(out, rank)
    errors: dict[str, str] = {}
    own = range(rank, len(items), count)
    bar = tqdm(total=len(own), desc="items", unit="item", disable=rank > 0)
    try:
        with torch.no_grad():
            _Share(model, processor, out, settings, journal, errors, bar).do(items, own)
    finally:
        bar.close()
        write_errors(out, rank, errors)
        journal.close()
    return write_report(out, settings.about, len(items))


def begin_run(out: Path, identity: dict[str, Any]) -> None:
    """Makes the folder of a run, or checks that it is of the same run.

    Raises:
        ValueError: it is of another one, or of none.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "run.json"
    for _ in range(100):  # several processes begin at once: one of them writes
        if path.exists():
            break
        if any(entry.name not in ("run.json",) and ".writing-" not in entry.name for entry in out.iterdir()):
            raise ValueError(f"{out} is not an empty folder and holds no run to go on with; choose another --out")
        try:
            write_json(path, identity)
        except FileExistsError:
            time.sleep(0.01)
    stored = json.loads(path.read_text(encoding="utf-8"))
    for name in sorted({*stored, *identity}):
        if stored.get(name) != json.loads(json.dumps(identity.get(name))):
            raise ValueError(
                f"{out} holds a run with another {name} ({stored.get(name)!r:.60}, not {identity.get(name)!r:.60}); "
                "choose another --out"
            )


@dataclass
class _Share:
    """One process' work; see `run_items`."""

    model: Any
    processor: Any
    out: Path
    settings: BulkSettings
    journal: Journal
    errors: dict[str, str]
    bar: Any

    def do(self, items: Items, own: range) -> None:
        """Everything that is not done yet."""
        waiting: list[_Opened] = []
        for opened in prefetch(self._open(items, own), 2 * self.settings.batch):
            if opened.error is not None:
                self._failed(opened, opened.error)
            elif opened.kind == "video":
                self._each([opened])
            else:
                waiting.append(opened)
                if sum(len(entry.requests) for entry in waiting) >= self.settings.batch:
                    self._each(waiting)
                    waiting = []
        if waiting:
            self._each(waiting)

    def _open(self, items: Items, own: range) -> Iterator[_Opened]:
        """What is left, opened one after the other, on a thread."""
        for number in own:
            item = items[number]
            if item.name in self.journal.done:
                self.bar.update()
                continue
            try:
                yield self._opened(item)
            except Exception as error:  # told with the item's name, and the rest goes on
                yield _Opened(item, error=error)

    def _opened(self, item: Item) -> _Opened:
        requests = item.requests(self.settings.what)
        if isinstance(item.source, str):
            source, kind = item.source, input_kind(item.source)
        else:
            source = plain_source(item.source, item.name)
            kind = visual_kind(source) or "video"
        if kind == "image":
            return _Opened(item, kind, load_image(source, item.name), requests)
        return _Opened(item, kind, FirstFrames(open_visual(source, item.name), self.settings.max_frames), requests)

    def _each(self, group: list[_Opened]) -> None:
        """Answers and writes; where that fails, one by one."""
        try:
            answers = [self._video(group[0])] if group[0].kind == "video" else self._pictures(group)
        except Exception as error:
            if len(group) == 1:
                self._failed(group[0], error)
                return
            for opened in group:
                self._each([opened])
            return
        for opened, results in zip(group, answers, strict=True):
            try:
                self._write(opened, results)
            except ValueError as error:
                self._failed(opened, error)

    def _pictures(self, group: list[_Opened]) -> list[list[SegmentationResult]]:
        settings = self.settings
        questions = [
            Question(opened.visual, opened.requests, settings.task, max_new_tokens=settings.max_new_tokens)
            for opened in group
        ]
        return answer_questions(self.model, self.processor, questions, settings.options)

    def _video(self, opened: _Opened) -> list[SegmentationResult]:
        settings = self.settings
        options = {"task": settings.task, "max_new_tokens": settings.max_new_tokens, "options": settings.options}
        stream = self.model.stream(opened.visual, opened.requests, self.processor, **options, **settings.video)
        with stream:
            return collect_frames(stream, stream.answers, opened.visual)

    def _write(self, opened: _Opened, results: list[SegmentationResult]) -> None:
        number_through(results)
        if not self.settings.table_only:
            place = self.out / "items" / os.path.normpath(opened.item.name)
            with output_folder(place, replace=True) as folder:
                write_results(results, folder)
        # The line comes last: an item that has one is done.
        self.journal.write(opened.item.name, opened.kind, results)
        self.bar.update()

    def _failed(self, opened: _Opened, error: BaseException) -> None:
        if error_line(error) is None:
            raise error  # a fault of this package
        self.errors[opened.item.name] = one_line(error)
        self.bar.update()


__all__ = ["BulkSettings", "begin_run", "run_items"]
