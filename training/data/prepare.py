"""Any data set as Parquet shards with its pictures and videos inside: one form that streams.

Enters: checked records. Leaves: a folder of shards and `manifest.json`, which `open_source` reads like any other set,
also from the Hub. Shards are written side by side, each under a temporary name first; a repeated command skips those
that are whole. (Engineering; no paper section.)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from desa2va.processing.inputs import open_visual
from desa2va.training.folder_lock import LOCK_FILE, folder_lock

from .record_rows import SCHEMA, record_to_row
from .records import Record
from .sources import Source, count_records

MANIFEST, PLAN = "manifest.json", "unfinished.json"
VERSION = 2  # of which records are in which shard
_ROW_GROUP = 16  # records of a shard that are in memory at once


def prepare(
    source: Source,
    out: str | os.PathLike,
    *,
    shard_size: int = 500,
    link: bool = False,
    workers: int = 4,
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> dict[str, Any]:
    """Writes a data set, or what is missing of it.

    Args:
        source: what to write. out: a folder that is absent, empty, or of an earlier call with the same arguments.
        shard_size: most records of a shard; all have as many, to one, so that who shares them has as many too.
        link: names of files in place of their contents. workers: shards at a time.
        progress: told how many shards of how many are there.

    Returns:
        What `manifest.json` holds.

    Raises:
        FileExistsError: the folder holds something else. ValueError: records that are wrong, or a stream.
        BlockingIOError: another process writes there.
    """
    out = Path(out)
    plan = {"source": source.name, "key": source.key(), "shard_size": shard_size, "link": link, "version": VERSION}
    with folder_lock(out):
        if (out / MANIFEST).is_file() and _read(out / MANIFEST).get("plan") == plan:
            return _read(out / MANIFEST)
        _claim(out, plan)
        records = source.records()
        if not isinstance(records, Sequence):
            raise ValueError(f"{source.name} is streamed; prepare it without `streamed`")
        count = -(-len(records) // shard_size)
        split = str(source.options.get("split") or "train")
        names = [f"{split}-{number:05d}-of-{count:05d}.parquet" for number in range(count)]
        with ThreadPoolExecutor(workers) as pool:
            jobs = [
                pool.submit(_shard, out / name, records, _part(number, count, len(records)), link)
                for number, name in enumerate(names)
            ]
            try:
                for number, job in enumerate(jobs, 1):
                    job.result()
                    progress(number, count)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        manifest = {"plan": plan, "records": len(records), **_told(records), "shards": _hashes(out, names)}
        _write(out / MANIFEST, manifest)
        (out / PLAN).unlink()
    return manifest


def _claim(out: Path, plan: dict[str, Any]) -> None:
    """Marks a folder as this call's; what an earlier one left unfinished under temporary names goes."""
    if (out / PLAN).is_file():
        if _read(out / PLAN) != plan:
            raise FileExistsError(
                f"{out} holds the unfinished shards of another source or other settings; name another folder, or "
                "remove it"
            )
    elif any(path.name != LOCK_FILE for path in out.iterdir()):
        raise FileExistsError(f"{out} is not empty and not of this source; name another folder, or remove it")
    else:
        _write(out / PLAN, plan)
    for path in out.glob("*.tmp"):
        path.unlink()


def _part(number: int, count: int, records: int) -> range:
    """Which records shard `number` of `count` holds."""
    return range(records * number // count, records * (number + 1) // count)


def _shard(path: Path, records: Sequence[Record], numbers: range, link: bool) -> None:
    """Writes one shard, unless it is there: it gets its name when it is whole."""
    if path.is_file():
        return
    unfinished = path.with_suffix(".tmp")
    with pq.ParquetWriter(unfinished, SCHEMA, compression="zstd") as writer:
        for start in range(numbers.start, numbers.stop, _ROW_GROUP):
            rows = [
                record_to_row(records[number] if link else _with_media(records[number]))
                for number in range(start, min(start + _ROW_GROUP, numbers.stop))
            ]
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _with_media(record: Record) -> Record:
    """The record with the contents of its files."""
    if record.media or not record.paths:
        return record
    paths = record.paths
    if os.path.isdir(paths[0]):
        paths = tuple(map(str, open_visual(paths[0]).paths))
    media = tuple(Path(path).read_bytes() for path in paths)
    return replace(record, paths=tuple(os.path.basename(path) for path in paths), media=media)


def _told(records: Sequence[Record]) -> dict[str, Any]:
    """Counts and licences."""
    counts: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    for record in records:
        counts.update(count_records((record,)))
        licences[record.licence or "not recorded"] += 1
    return {"counts": dict(counts), "licences": dict(licences)}


def _hashes(out: Path, names: list[str]) -> list[dict[str, Any]]:
    shards = []
    for name in names:
        digest = hashlib.sha256()
        with (out / name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        shards.append({"file": name, "sha256": digest.hexdigest(), "bytes": (out / name).stat().st_size})
    return shards


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, content: dict[str, Any]) -> None:
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(unfinished, path)


__all__ = ["MANIFEST", "prepare"]
