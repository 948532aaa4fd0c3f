"""The comparison with transformers' session compares the same thing."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import transformers_session  # noqa: E402
from benchmarks.transformers_session import compare, hiera_tiny_config, main  # noqa: E402


def test_both_sides_follow_the_same_objects():
    """No time is asserted; that the masks are the same is: a side that skips work would win."""
    report = compare(hiera_tiny_config(64), num_objects=2, pieces=1, filled=3)
    assert report["equal_pixels"] == pytest.approx(1.0, abs=0.01)
    assert len(report["ratios"]) == 1
    assert min(report["their_seconds"], report["our_seconds"]) > 0


def test_the_command_measures_its_cases(monkeypatch, capsys, tmp_path):
    """A method that took the place of the runner's own made every case fail, in a report that ended well."""
    monkeypatch.setattr(
        transformers_session, "compare", lambda config, count, pieces: [config.image_size, count, pieces]
    )
    assert main(["--cases", "512px_1,512px_10", "--json", str(tmp_path / "report.json")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["failed"] == {}
    assert (report["512px_1"], report["512px_10"]) == ([512, 1, 2], [512, 10, 1])
    assert json.loads((tmp_path / "report.json").read_text()) == report


def test_a_failed_case_is_an_error_of_the_command(monkeypatch, capsys):
    """It ended well whatever failed, so a script went on with a report without figures."""
    monkeypatch.setattr(transformers_session, "compare", None)
    assert main(["--cases", "512px_1"]) == 1
    assert "512px_1" in json.loads(capsys.readouterr().out)["failed"]


def test_unknown_cases_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--cases", "512px_2"])
    assert "512px_2" in capsys.readouterr().err
