"""What the model card says of a training, collected while it runs: configuration, data, launch line, figures.

Enters: a stage's configuration and its data. Leaves: `training_summary.json`, from which `desa2va.card` writes the
page that lies in the finished folder. Nothing private leaves: of an absolute path its last name, of a secret nothing,
of the machine its kind of processor. (Engineering; no paper section.)
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import TrainerCallback, TrainerControl, TrainerState

import desa2va
from desa2va.card import SUMMARY_FILE, read_summary
from desa2va.hub import SHIPPED_MODEL, resolve

from .arguments import DeSa2VATrainingArguments
from .data.readers import READERS
from .data.refshapes import VERSION
from .data.sources import open_source

LIBRARIES = ("torch", "transformers", "accelerate", "peft", "safetensors", "tokenizers")
LOOKED_AT = 10_000  # records whose licence is read
_SECRET = re.compile(r"token|secret|password|api_?key", re.IGNORECASE)
_PROGRAMS = ("desa2va", "__main__.py", "train.py")


class CardFacts(TrainerCallback):
    """Collects the facts of one stage.

    Args:
        config: the stage's, as it was resolved.
        dataset, validation: what is learned from and validated on; the latter may be `None`.
    """

    def __init__(self, config: dict[str, Any], dataset: Any, validation: Any = None) -> None:
        data = config.get("data", {})
        parts = data.get("parts") or [{"dataset": "refshapes", **data}]
        sets = dataset.parts if data.get("parts") else [dataset]  # of a `Mixture`, or the only one
        told = [*parts, *([data["validation"]] if validation is not None else [])]
        uses = ["training"] * len(parts) + ["validation"]
        self._config = config
        self._data = [
            (part["dataset"], part.get("options", {}), of, use)
            for part, of, use in zip(told, [*sets, validation], uses, strict=False)
        ]
        self._manifest: list[dict[str, Any]] = []
        self._figures: dict[str, float] = {}

    def on_train_begin(
        self, args: DeSa2VATrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Reads the data's hashes before anyone changes them."""
        self._collect(state)

    def on_evaluate(
        self, args: DeSa2VATrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any, **kwargs: Any
    ) -> None:
        """Keeps the newest figures, the last of which are those of the finished model."""
        self._figures = {
            name.removeprefix("eval_"): round(value, 5)
            for name, value in metrics.items()
            if isinstance(value, int | float) and not name.endswith(("_runtime", "_per_second", "epoch"))
        }

    def _collect(self, state: TrainerState) -> None:
        if state.is_world_process_zero and not self._manifest:
            self._manifest = [manifest_row(*part) for part in self._data]

    def summary(self, args: DeSa2VATrainingArguments, state: TrainerState, record: dict[str, Any]) -> dict[str, Any]:
        """`training_summary.json`: what the start's says, and this stage.

        Args:
            args, state: of the trainer. record: what `stage.json` holds.
        """
        self._collect(state)
        name, source = Path(self._config["output_dir"]).name, self._config.get("init_from")
        before = start_summary(source)
        named = {part[0] for part in self._data if part[0] in (*READERS, "refshapes") or part[0].startswith("hub:")}
        ours = before["license"] == "apache-2.0" and all(part[0] == "refshapes" for part in self._data)
        bases = [base for base in (source, self._config.get("sam2")) if base and on_hub(base)]
        return {
            "name": name,
            "base_models": bases or before.get("base_models", []),
            "license": "apache-2.0" if ours else "other",
            "command": launch_line(),
            "data": sorted({part.removeprefix("hub:") for part in named} | set(before.get("data", []))),
            "processes": args.world_size,
            "hardware": f"{args.device.type}, {hardware(args.device)}",
            "phases": [*before.get("phases", []), _phase(name, args, state, record)],
            "configuration": {**before.get("configuration", {}), name: public_yaml(self._config)},
            "manifest": [*before.get("manifest", []), *({"stage": name, **row} for row in self._manifest)],
            "figures": self._figures,
            "versions": {"python": platform.python_version(), "desa2va": desa2va.__version__}
            | {library: metadata.version(library) for library in LIBRARIES},
        }


def _phase(name: str, args: DeSa2VATrainingArguments, state: TrainerState, record: dict[str, Any]) -> dict[str, Any]:
    samples = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    return {
        "stage": name,
        "phase": args.phase,
        "steps": state.global_step,
        "batch": samples,
        "minutes": round(record["seconds"] / 60, 1),
        "last loss": record["final"].get("train_loss"),
    }


def manifest_row(name: str, options: dict[str, Any], dataset: Any, use: str) -> dict[str, Any]:
    """A data set by what can be checked: samples of an epoch, licences as far as recorded, hash of its annotations."""
    row: dict[str, Any] = {"set": public(name), "use": use}
    row["samples"] = len(dataset) if hasattr(dataset, "__len__") else "streamed"
    if name == "refshapes":
        return {**row, "licence": "drawn by this package", "sha256": f"generator version {VERSION}"}
    records = getattr(dataset, "records", ())
    looked = range(min(len(records), LOOKED_AT)) if hasattr(records, "__len__") else ()
    licences = Counter(records[number].licence or "not recorded" for number in looked)
    own = {key: options[key] for key in ("root", "split") if name in READERS and key in options}
    digest = hashlib.sha256()
    for path in sorted(path for path in map(Path, open_source(name, **own).files) if path.is_file()):
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return {**row, "licence": ", ".join(sorted(licences)) or "not recorded", "sha256": digest.hexdigest()[:16]}


def start_summary(source: str | os.PathLike | None) -> dict[str, Any]:
    """What the start says of its own training, with a `license`: ours where all of it was made by this project."""
    if source is None:
        return {"license": "apache-2.0"}
    folder = Path(resolve(source) if str(source) == SHIPPED_MODEL else source)
    found = read_summary(folder)  # nothing of a Hub id, and of published weights
    ours = bool(found) and not found.get("base_models")
    return {**found, "license": found.get("license", "apache-2.0" if ours else "other")}


def on_hub(name: str | os.PathLike) -> bool:
    """Whether a start is a Hub id, `owner/name`."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)) is not None and not Path(name).exists()


def launch_line() -> str:
    """The command of this process, fit to be read by anyone; of another program its kind."""
    program, *words = sys.argv
    if Path(program).name not in _PROGRAMS:
        return "desa2va.training.train.run_recipe, called from Python"
    words = words[1:] if words[:1] == ["train"] else words
    shown, hidden = [], False
    for word in words:
        shown.append("..." if hidden else public(word))
        hidden = bool(_SECRET.search(word)) and "=" not in word
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    start = "desa2va train" if processes == 1 else f"accelerate launch --num_processes {processes} -m desa2va train"
    return f"{start} {shlex.join(shown)}"


def public(word: str) -> str:
    """A word without what concerns nobody else: of `/home/me/x.json` `x.json`, of `hub_token=...` no value."""
    key, sign, value = word.partition("=")
    if sign:
        return f"{key}=..." if _SECRET.search(key) else f"{key}={public(value)}"
    private = Path(word).is_absolute() or word.startswith(("~", ".."))
    return Path(word).name if private else word


def public_yaml(config: Any) -> str:
    """A configuration as YAML, every text in it public."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            hidden = {key for key, item in value.items() if _SECRET.search(str(key)) and isinstance(item, str)}
            return {key: "..." if key in hidden else clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        return public(os.fspath(value)) if isinstance(value, str | os.PathLike) else value

    return yaml.safe_dump(clean(config), sort_keys=False, allow_unicode=True, width=110)


def hardware(device: torch.device) -> str:
    """The kind of processor."""
    if device.type == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


__all__ = ["SUMMARY_FILE", "CardFacts", "launch_line", "public", "public_yaml"]
