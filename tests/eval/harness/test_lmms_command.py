"""lmms-eval's own command on fixture tasks, from the entry point to its table of results."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import desa2va
from tests.eval.harness.lmms_tasks import COUNT, TASKS, write_tasks

ROOT = Path(desa2va.__file__).resolve().parent.parent
LIMIT = 300  # seconds; a run takes fifteen


def installed_as_pyproject_says(folder):
    """What pip would write of this package for others to find it by, whatever version is installed beside."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition('[project.entry-points."lmms_eval.models"]\n')[2].partition("\n\n")[0]
    told = folder / f"desa2va-{desa2va.__version__}.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: desa2va\nVersion: {desa2va.__version__}\n")
    (told / "entry_points.txt").write_text(f"[lmms_eval.models]\n{section.replace(chr(34), '')}\n")
    return folder


@pytest.mark.skipif(find_spec("lmms_eval") is None, reason="lmms-eval is not installed")
def test_the_harness_runs_its_tasks_by_its_own_command(tmp_path):
    """Words, SA-Co's masks and tracks of the shipped model about four scenes each, scored by lmms-eval's code: colours
    by exact match, masks by F1 over ten thresholds, points by the masks they lie in.
    """
    write_tasks(tmp_path / "tasks", tmp_path / "home")
    found = installed_as_pyproject_says(tmp_path / "installed")
    paths = os.pathsep.join([str(found), str(ROOT), os.environ.get("PYTHONPATH", "")])
    words = ["--model", "desa2va", "--model_args", "pretrained=desa2va-tiny,device=cpu", "--batch_size", "1"]
    words += ["--log_samples", "--output_path", str(tmp_path / "out")]
    words += ["--include_path", str(tmp_path / "tasks"), "--tasks", ",".join(TASKS), "--limit", str(COUNT)]
    told = subprocess.run(
        [sys.executable, "-m", "lmms_eval", *words],
        env={**os.environ, "PYTHONPATH": paths, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    (path,) = (tmp_path / "out").rglob("*_results.json")
    results = json.loads(path.read_text())["results"]
    assert results["chat_fixture"]["exact_match,none"] >= 0.75
    assert results["saco_fixture"]["sample_f1,none"] > 0.5
    assert results["rvos_fixture"]["rvos_hota,none"] > 0.5
    for task in TASKS:
        (path,) = (tmp_path / "out").rglob(f"*_samples_{task}.jsonl")
        assert len(path.read_text().splitlines()) == COUNT
