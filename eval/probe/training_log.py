"""What training said about the decoupling: the logged curves, where they lie beside the checkpoint.

A model folder enters; the phase it came from and the curves leave, empty where there are none. (The alternation of
paper section 3.2, as `training/trainer.py` logs it.)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CURVES = (
    "accuracy_visual",
    "accuracy_text",
    "mutual_information",
    "club_nll",
    "loss_adversarial",
    "loss_club",
    "loss_orthogonality",
    "gate",
)
DISCRIMINATORS = ("accuracy_visual", "accuracy_text")
BEFORE_DECOUPLING = ("vision", "segmenter", "grounding", "text_pretraining")


def read_training(folder: str | Path) -> dict[str, Any]:
    """Reads `stage.json` and `trainer_state.json` where they are.

    Args:
        folder: of the checkpoint.

    Returns:
        `phase` (`None` where unknown) and `curves`: name -> `{"step": [...], "value": [...]}`, of what was logged.

    Raises:
        ValueError: a file of that name that is no JSON.
    """
    stage, state = (_read(Path(folder) / name) for name in ("stage.json", "trainer_state.json"))
    curves: dict[str, dict[str, list[float]]] = {}
    for entry in state.get("log_history", []):
        for name in CURVES:
            if name in entry:
                curve = curves.setdefault(name, {"step": [], "value": []})
                curve["step"].append(entry["step"])
                curve["value"].append(entry[name])
    return {"phase": stage.get("config", {}).get("training", {}).get("phase"), "curves": curves}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON file: {error}") from error


__all__ = ["BEFORE_DECOUPLING", "CURVES", "DISCRIMINATORS", "read_training"]
