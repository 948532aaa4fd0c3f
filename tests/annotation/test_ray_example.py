"""The page's example for Ray Data, which is no dependency: a stand-in calls the actors one after another."""

import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import desa2va
from desa2va.annotation import annotate, local_model
from desa2va.annotation.measured import MeasuringDescriber
from desa2va.cli import main
from tests.annotation.layouts import write_palettes

PAGE = Path(desa2va.__file__).resolve().parent.parent / "docs" / "annotate.md"
FILES = ("annotations.jsonl", "train/expressions.jsonl", "train/video_datas/Ref-SAV.json")


class Items(list):
    """As much of `ray.data` as the example uses; every row is a batch."""

    @classmethod
    def from_items(cls, items, override_num_blocks):
        assert override_num_blocks == len(items)
        return cls(items)

    ActorPoolStrategy = staticmethod(lambda size: size)

    def map_batches(self, actor, batch_size, num_gpus, compute):
        assert (batch_size, num_gpus, compute) == (1, 1, len(self))
        return Items(actor()({key: np.array([value]) for key, value in item.items()}) for item in self)

    def take_all(self):
        return list(self)


def test_actors_and_then_the_command(tmp_path, monkeypatch):
    """Names that moved, or a batch size and a number type unlike the command's, which then refuses the run."""
    for name in ("a", "b"):
        videos, masks = write_palettes(tmp_path, name)
    videos.rename(tmp_path / "videos")
    section = PAGE.read_text(encoding="utf-8").split("## With Ray Data")[1].replace("/shared", str(tmp_path))
    (example,), (command,) = (re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL) for kind in ("python", "bash"))
    loaded = []

    def load_describer(name, device, dtype, max_tokens):
        loaded.append((name, dtype, max_tokens))
        return MeasuringDescriber()

    monkeypatch.setattr(local_model, "load_describer", load_describer)
    monkeypatch.setattr(annotate, "load_describer", load_describer)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(data=Items))
    told = []
    exec(compile(example, str(PAGE), "exec"), {"print": told.extend})
    assert len(told) == 16
    assert sum(row["asked"][0] for row in told) == 24  # two objects of both, six steps; the third is too small
    answers = {path: path.read_bytes() for path in (tmp_path / "expressions").glob("answers-*.jsonl")}
    words = shlex.split(command.replace("\\\n", ""))[1:]
    assert main(words) == 0
    assert len(set(loaded)) == 1
    assert all(path.read_bytes() == said for path, said in answers.items())
    words[words.index("--out") + 1] = str(tmp_path / "plain")
    assert main(words) == 0
    expressions, plain = (tmp_path / name / "dataset" for name in ("expressions", "plain"))
    assert [(expressions / file).read_bytes() for file in FILES] == [(plain / file).read_bytes() for file in FILES]
