"""The script for a card, as far as it goes without one: every part runs or says why not; a failure stops nothing."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import gpu_check, gpu_speed, gpu_training  # noqa: E402

HERE = ",".join(part for part in gpu_check.PARTS if part != "tests")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(gpu_speed, "WARM_FRAMES", 2)
    monkeypatch.setattr(gpu_speed, "OBJECT_COUNTS", (1,))
    monkeypatch.setattr(gpu_training, "VARIANTS", {"recipe": {}})


def test_the_whole_script_runs_without_a_card(monkeypatch, capsys):
    """A script that is only tried where a card is lent fails there."""
    monkeypatch.setattr(gpu_check, "STEPS", ("decoupling", "segmenter"))
    assert gpu_check.main(["--device", "cpu", "--quick", "--parts", HERE]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["complete"]
    assert list(report["part_seconds"]) == HERE.split(",")
    assert list(report["skipped"]) == ["answers_replayed", "speed_compiled"]
    assert report["answers"]["fp32"]["session"]["iou"] == 1.0
    assert report["answers"]["bf16"]["stream"]["iou"] > 0.9
    assert report["training"]["decoupling"]["device"] == "cpu"
    assert set(report["speed"]) == {"bf16", "fp32", "replayed"}
    stages = {name: set(report["requests"]["tiny"][name]["stages"]) for name in ("plain", "fast")}
    assert stages["plain"] - stages["fast"] == {"language_step"}  # a draft is read in one go
    assert report["lora"]["tiny"]["recipe"]["samples_per_second"] > 0
    assert report["speed"]["fp32"]["tracking"]["1"] > 0


def test_a_part_that_fails_is_noted_and_the_others_go_on(monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "STEPS", ("decoupling",))
    monkeypatch.setattr(gpu_check, "take_step", lambda *args, **fields: 1 / 0)
    assert gpu_check.main(["--device", "cpu", "--quick", "--parts", "training,speed_fp32"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert "decoupling" in report["failed"]["training"]
    assert report["training"]["decoupling"]["error"].startswith("ZeroDivisionError")
    assert report["speed"]["fp32"]["encoder"]


def test_no_part_is_begun_when_the_time_is_up(capsys):
    assert gpu_check.main(["--device", "cpu", "--quick", "--parts", "speed_fp32", "--seconds", "-1"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == {"speed_fp32": "the time was up"}


def test_without_a_card_it_says_so(capsys):
    with pytest.raises(SystemExit):
        gpu_check.main(["--device", "cuda"] if not gpu_check.torch.cuda.is_available() else ["--parts", "x"])
    assert "error:" in capsys.readouterr().err
