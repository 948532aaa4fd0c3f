"""The suite at its smallest: every name gives rows, floors and operations are what they say, the page is rendered."""

import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import run, stages, suites
from benchmarks.machine import Rates, measure_rates
from benchmarks.random_models import random_model
from benchmarks.suites import SUITES, Settings

SMALLEST = Settings(repeats=1, frames=3, tokens=3, streamed=4, side=64, sentences=2)
RATES = Rates(operations=1e9, bytes=1e8)


@pytest.fixture(autouse=True)
def known_rates(monkeypatch):
    monkeypatch.setattr(suites, "measure_rates", lambda repeats: RATES)
    monkeypatch.setattr(stages, "HEIGHT", 72)
    monkeypatch.setattr(stages, "WIDTH", 128)


def test_rates_of_a_machine():
    rates = measure_rates(side=64, copied=1 << 12, repeats=2)
    assert rates.operations > 0
    assert rates.bytes > 0
    assert RATES.floor(2e9, 1e8) == 2.0  # the product takes longer than the copy
    assert RATES.floor(1e8, 1e8) == 1.0


def test_every_stage_has_a_floor():
    """Guards against a network that is no longer called where it is watched, and attention that is not counted."""
    rows = SUITES["stages"](SMALLEST)
    model = SMALLEST.model
    assert set(rows) >= {"vision tower", "prefill", "decode, a token", "image encoder", "text decoder"}
    assert set(rows) >= {"visual decoder", "memory attention", "memory encoder", "resize to 720p", "PNG"}
    assert all(row["floor"] > 0 for row in rows.values())
    weights = sum(value.numel() * 4 for value in model.segmenter.sam.memory_encoder.parameters()) / 1e6
    assert rows["memory encoder"]["megabytes"] > weights
    assert rows["image encoder"]["million_operations"] > 10 * rows["decode, a token"]["million_operations"]


def test_operations_and_bytes_of_a_call(monkeypatch):
    """A linear layer of 8 by 4 and three rows: 2 * 3 * 8 * 4 operations; weights, bias, input and output once each."""
    layer = nn.Linear(8, 4)
    monkeypatch.setattr(stages, "networks", lambda model: {"layer": layer})
    counter = FlopCounterMode(display=False)
    with stages.watched(None, counter) as calls, counter:
        layer(torch.ones(3, 8))
    layer(torch.ones(3, 8))  # no longer watched
    ((call,),) = calls.values()
    assert call.operations == 2 * 3 * 8 * 4
    assert call.bytes == 4 * (32 + 4 + 24 + 12)


def test_watching_changes_nothing():
    model = random_model("tiny")
    answer = stages.answer_video(model, 2, 3)
    before = answer().track_logits[0]
    with stages.watched(model):
        assert torch.equal(answer().track_logits[0], before)
    assert not any(module._forward_hooks for module in stages.networks(model).values())


@pytest.mark.parametrize("name", ["answers", "training", "peer", "session"])
def test_a_suite_gives_plain_rows(name):
    """`data`, `start`, `memory` and `sentences` take longer than a test may, by pixels, processes or tokens."""
    rows = SUITES[name](SMALLEST)
    assert rows
    unit = "times" if name in ("peer", "session") else "ms"
    assert all(row["value"] > 0 and row["unit"] == unit for row in rows.values())


def test_the_command(tmp_path, monkeypatch, capsys):
    """Change against the baseline, a suite that fails, the page and its plot; nothing is kept where one failed."""
    page, plot, baseline = tmp_path / "page.md", tmp_path / "stages.png", tmp_path / "baseline.json"
    page.write_text(f"before\n{run.BEGIN}\nold\n{run.END}\nafter\n")
    rows = {"PNG": {"value": 4.0, "unit": "ms", "floor": 0.5}, "overlay": {"value": 3.0, "unit": "ms", "floor": 1.0}}
    monkeypatch.setattr(run, "SUITES", {"stages": lambda settings: rows, "start": lambda settings: {}})
    for name, path in (("BASELINE", baseline), ("PAGE", page), ("PLOT", plot)):
        monkeypatch.setattr(run, name, path)
    assert run.main(["all", "--keep", "--json", str(tmp_path / "report.json")]) == 0
    assert "| stages: PNG | 4 ms | 0.5 ms | 8.0 |  |" in capsys.readouterr().out
    assert json.loads(baseline.read_text()) == json.loads((tmp_path / "report.json").read_text())
    text = page.read_text()
    assert text.startswith(f"before\n{run.BEGIN}\n")
    assert text.endswith(f"{run.END}\nafter\n")
    assert "old" not in text
    assert "| stages: overlay | 3 ms | 1 ms | 3.0 |  |" in text
    assert plot.stat().st_size > 1000
    rows["PNG"] = {**rows["PNG"], "value": 3.0}
    monkeypatch.setitem(run.SUITES, "start", lambda settings: 1 / 0)
    before = baseline.read_bytes()
    assert run.main(["all", "--keep"]) == 1
    told = capsys.readouterr()
    assert "| stages: PNG | 3 ms | 0.5 ms | 6.0 | 0.75 |" in told.out
    assert "start: ZeroDivisionError" in told.err
    assert baseline.read_bytes() == before


def test_what_was_measured_otherwise_is_not_compared():
    row = {"stages": {"PNG": {"value": 1.0, "unit": "ms"}}}
    report = {"settings": {"size": "tiny", "repeats": 5}, "rows": row}
    assert "| 1.00 |" in run.table(report, {**report, "settings": {"size": "tiny", "repeats": 3}})[-1]
    assert "1.00" not in run.table(report, {**report, "settings": {"size": "large"}})[-1]


def test_wrong_words(capsys):
    for words in (["nothing"], [], ["stages", "--keep"]):
        with pytest.raises(SystemExit):
            run.parse_options(words)
    assert "--keep needs all" in capsys.readouterr().err
