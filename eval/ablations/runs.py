"""One run of an ablation: train an arm with a seed, score it, keep one JSON.

Enters: a `Run`. Leaves: `runs/<fingerprint>/` with the trained model and, last of all, `result.json`: its presence
means finished. The same arm of two plans is one run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from desa2va.eval.provenance import weights_sha256
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.files import write_file
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.training.method_version import METHOD_VERSION
from desa2va.training.train import STAGE_FILE, run_stage

from .plan import fingerprint
from .scoring import score

RESULT_FILE = "result.json"
STAGE_FACTS = ("method_version", "steps", "seconds", "versions", "device", "hardware", "threads", "processes")


@dataclass(frozen=True)
class Run:
    """What one worker does.

    Attributes:
        folder: of all runs. config: training configuration with `init_from` relative to the recipe's folder.
        scoring: what is scored; see `scoring.py`. recipe_dir: folder of the recipe's stages.
        method_version: of the training terms; runs of another version are other runs.
    """

    folder: Path
    config: dict[str, Any]
    scoring: dict[str, Any]
    recipe_dir: Path
    method_version: int = METHOD_VERSION

    @property
    def place(self) -> Path:
        """Folder of this run."""
        known_by = {"config": self.config, "scoring": self.scoring, "method_version": self.method_version}
        return self.folder / fingerprint(known_by)

    @property
    def finished(self) -> bool:
        """Whether the result is there."""
        return (self.place / RESULT_FILE).is_file()

    def result(self) -> dict[str, Any]:
        """The finished run's JSON."""
        return json.loads((self.place / RESULT_FILE).read_text())


def execute(run: Run, keep_weights: bool = False) -> Path:
    """Trains and scores one run, or returns at once where it is finished.

    Training resumes from its newest checkpoint where the configuration saves any, else it starts again.

    Args:
        run: what to do. keep_weights: of the trained model, once its result is written.

    Returns:
        The run's folder.

    Raises:
        ValueError: the run is one of other terms than today's, and not finished.
    """
    if run.finished:
        return run.place
    if run.method_version != METHOD_VERSION:
        raise ValueError(f"method_version={run.method_version} can not be trained any more: this is {METHOD_VERSION}")
    model_dir = run.place / "model"
    training = {"disable_tqdm": True, "save_strategy": "no", **run.config.get("training", {})}
    start = run.recipe_dir / run.config["init_from"]
    run_stage({**run.config, "training": training, "init_from": str(start), "output_dir": str(model_dir)})
    model = DeSa2VAModel.from_pretrained(model_dir, dtype=torch.float32).eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    report = score(model.to(device), DeSa2VAProcessor.from_pretrained(model_dir), run.scoring)
    stage = json.loads((model_dir / STAGE_FILE).read_text())
    history = json.loads((model_dir / "trainer_state.json").read_text())["log_history"]
    provenance = {name: stage[name] for name in STAGE_FACTS}
    result = {
        "config": run.config,
        "scoring": run.scoring,
        "report": report,
        "curves": [entry for entry in history if "loss" in entry],
        "provenance": {
            **provenance,
            "cpu_seconds": _whole_cpu_seconds(stage),
            "warnings": stage.get("warnings", []),
            "start_sha256": weights_sha256(start),
            "weights_sha256": weights_sha256(model_dir),
            "commit": source_commit(),
        },
    }
    text = json.dumps(result, separators=(",", ":"), default=str) + "\n"
    write_file(run.place / RESULT_FILE, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    if not keep_weights:
        shutil.rmtree(model_dir)
    return run.place


def _whole_cpu_seconds(stage: dict[str, Any]) -> float | None:
    """Processor seconds of the whole training, though it was interrupted: as if all steps took what those took that
    were timed; `None` where none was, since it was stopped after its last one.
    """
    steps = stage["timed_steps"]
    return round(stage["cpu_seconds"] * stage["steps"] / steps, 1) if steps else None


def source_commit() -> str | None:
    """The commit of the checkout this code runs from, with `+` where files differ from it; `None` when installed."""
    here = Path(__file__).resolve().parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return commit + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *words: str) -> str:
    answer = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return answer.stdout.strip()


__all__ = ["RESULT_FILE", "Run", "execute", "source_commit"]
