"""Checkpoints and finished models that are whole or not there.

Enters: what a trainer writes. Leaves: folders that were filled under another name and moved when complete, so that a
process may die at any moment: the newest complete checkpoint is there, and nothing half is taken for whole.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import save_fsdp_optimizer
from safetensors import SafetensorError
from transformers import Trainer, TrainerState
from transformers.trainer import SCHEDULER_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput

from .sharding import load_whole_state, shard_by_layers, sharding_plugin, whole_state
from .start_weights import StartWeights, check_start
from .state_file import find_state, is_whole, nothing_run, read_state, write_state

logger = logging.getLogger(__name__)
OBJECTIVE_FILE = "objective.safetensors"
STATE_FILE = "trainer_state.json"
UNFINISHED = ".unfinished"
_CHECKPOINT = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)")


def newest_checkpoint(folder: str | os.PathLike) -> str | None:
    """The newest complete checkpoint of a training, `None` where there is none.

    Raises nothing for what is incomplete: it is removed, with a warning; nobody else may be training there.
    """
    folder = Path(folder)
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    for checkpoint in reversed(_checkpoints(folder)):
        if is_complete(checkpoint):
            return str(checkpoint)
        logger.warning("%s is incomplete: removed", checkpoint)
        shutil.rmtree(checkpoint, ignore_errors=True)
    return None


def _checkpoints(folder: Path) -> list[Path]:
    """All that are called checkpoints, the oldest first."""
    return sorted((path for path in folder.glob("*") if _CHECKPOINT.fullmatch(path.name)), key=checkpoint_step)


def _outdated(folder: Path, limit: int | None, best: str | None) -> list[Path]:
    """The oldest beyond `limit` (none or 0: all are kept); the newest and the best one are never among them."""
    found = _checkpoints(folder)
    kept = {path for path in found if path == found[-1] or (best and path.name == Path(best).name)}
    number = len(found) - max(limit, len(kept)) if limit else 0
    return [path for path in found if path not in kept][: max(number, 0)]


def checkpoint_step(checkpoint: str | Path | None) -> int:
    """Steps that were done before a checkpoint was written; 0 without one."""
    return 0 if checkpoint is None else int(_CHECKPOINT.fullmatch(Path(checkpoint).name)[1])


def is_complete(checkpoint: Path) -> bool:
    """Whether a checkpoint has weights and state, and no file of it ends early."""
    try:
        json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(find_state(checkpoint, OBJECTIVE_FILE)) and all(_ends_well(path) for path in checkpoint.iterdir())


def _ends_well(path: Path) -> bool:
    """Whether a file says itself that nothing is missing at its end."""
    if path.suffix in (".pt", ".pth"):  # torch's are zip archives, whose table of contents is written last
        return zipfile.is_zipfile(path)
    return path.suffix != ".safetensors" or is_whole(path)


@contextmanager
def writing(folder: Path, what: str) -> Iterator[Path]:
    """Yields an empty folder inside `folder` to write into; it is gone when the block ends, or at the next start.

    Raises:
        OSError: something could not be written, e.g. because the disk is full.
    """
    place = folder / UNFINISHED
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        yield place
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch says "unexpected pos" where a disk is full.
        raise OSError(
            f"{folder}: {what} could not be written ({error}); what was complete before still is: make room and "
            "repeat the command"
        ) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def move_files(source: Path, target: Path, last: tuple[str, ...]) -> None:
    """Moves everything in `source` to `target`, replacing what is there; the names in `last` at the end, in order."""
    entries = sorted(source.iterdir(), key=lambda path: (path.name in last and 1 + last.index(path.name), path.name))
    for path in entries:
        if path.is_dir():
            shutil.rmtree(target / path.name, ignore_errors=True)
        os.replace(path, target / path.name)


class CheckpointTrainer(Trainer):
    """A `Trainer` whose checkpoints are whole: the objective's weights, and what transformers keeps beside them.

    Args:
        start: the weights the model was loaded with; a checkpoint then holds only what is no longer as it was. `None`:
            a checkpoint holds everything. kwargs: of `Trainer`.
    """

    def __init__(self, *args: Any, start: StartWeights | None = None, **kwargs: Any) -> None:
        self.start = start
        self._untouched: dict[str, str] | None = None
        self._writing: Path | None = None
        super().__init__(*args, **kwargs)

    def create_accelerator_and_postprocess(self) -> None:
        """Stock, but FSDP divides a model as `sharding` says, and on CPUs too: accelerate leaves it out there without
        a word.
        """
        super().create_accelerator_and_postprocess()
        plugin = sharding_plugin(self.args.fsdp_plugin_args) if self.args.world_size > 1 else None
        if plugin is not None:
            shard_by_layers(self.accelerator, plugin)
            self.is_fsdp_enabled = True

    def train(self, resume_from_checkpoint: str | None = None, **kwargs: Any) -> TrainOutput:
        """Stock training; a checkpoint of the last step is only loaded, the stock loop would take one step more."""
        if resume_from_checkpoint is not None:
            state = TrainerState.load_from_json(os.path.join(resume_from_checkpoint, STATE_FILE))
            if state.global_step >= self._last_step(state):
                self.state = state
                self._load_from_checkpoint(resume_from_checkpoint)
                if self.args.load_best_model_at_end and state.best_model_checkpoint:
                    self._load_best_model()
                return TrainOutput(state.global_step, 0.0, {})
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _last_step(self, state: TrainerState) -> float:
        """The step that ends this training, as far as it is known before the data are counted."""
        if self.args.max_steps > 0:
            return self.args.max_steps
        return state.max_steps if state.num_train_epochs >= self.args.num_train_epochs else math.inf

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._writing is None else str(self._writing)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """The stock checkpoint, written elsewhere and moved to its place when every process has written its part."""
        folder, name = Path(self._get_output_dir(trial)), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if not self.args.should_save:
            self._write_checkpoint(model, trial, folder / UNFINISHED, folder / name)
            self.accelerator.wait_for_everyone()
            return
        with writing(folder, name) as place:
            self._write_checkpoint(model, trial, place, folder / name)
            if (folder / name).exists():
                os.replace(folder / name, place / f"replaced-{name}")
            os.replace(place / name, folder / name)
            # Moved before they are removed: half removed where it lies, one would be taken for whole.
            for path in _outdated(folder, self.args.save_total_limit, self.state.best_model_checkpoint):
                os.replace(path, place / path.name)
        self.accelerator.wait_for_everyone()

    def _write_checkpoint(self, model: Any, trial: Any, place: Path, final: Path) -> None:
        self.accelerator.wait_for_everyone()  # the place is empty
        self._writing = place
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._writing = None
        best = self.state.best_model_checkpoint
        if best is not None and Path(best).parent == place:
            self.state.best_model_checkpoint = str(final)
            if self.args.should_save:
                self.state.save_to_json(str(place / final.name / STATE_FILE))
        self.accelerator.wait_for_everyone()  # every process has written its part

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Stock, but sharded weights are written whole. A collective call."""
        if self.is_fsdp_enabled:
            self._save(output_dir, whole_state(self.model))
        else:
            super().save_model(output_dir, _internal_call)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Stock; of a sharded model every process writes its share of the optimizer's states, which any number of
        processes reads (torch.distributed.checkpoint). The stock one writes the weights once more.
        """
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        plugin = self.accelerator.state.fsdp_plugin
        save_fsdp_optimizer(plugin, self.accelerator, self.optimizer, self.model, output_dir)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), os.path.join(output_dir, SCHEDULER_NAME))

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """What learns, and what else is not as it was loaded; the rest by name and digest."""
        output_dir = output_dir or self.args.output_dir
        if not self.args.should_save:
            return
        os.makedirs(output_dir, exist_ok=True)
        objective = self.accelerator.unwrap_model(self.model)
        state = objective.state_dict() if state_dict is None else state_dict
        if self.start is not None and self._untouched is None:
            named = objective.named_parameters(remove_duplicate=False)
            learning = {name for name, value in named if value.requires_grad}
            self._untouched = self.start.untouched(state, learning)
        left_out = self._untouched or {}
        state = {name: value for name, value in state.items() if not _is_of(name, left_out)}
        write_state(state, os.path.join(output_dir, OBJECTIVE_FILE))
        if self.start is not None:
            self.start.write(output_dir, left_out)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        path = find_state(resume_from_checkpoint, OBJECTIVE_FILE)
        if path is None:
            raise FileNotFoundError(f"{resume_from_checkpoint} has no {OBJECTIVE_FILE}: it is no checkpoint of this")
        found = load_whole_state(self.accelerator.unwrap_model(model or self.model), read_state(path))
        if found.unexpected_keys:
            raise ValueError(
                f"{resume_from_checkpoint} holds {len(found.unexpected_keys)} weights that this stage has not, e.g. "
                f"{found.unexpected_keys[0]}: it is of another one"
            )
        check_start(resume_from_checkpoint, self.start, found.missing_keys)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with nothing_run(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_scaler(self, checkpoint: str | None) -> None:
        with nothing_run(checkpoint):
            super()._load_scaler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with nothing_run(checkpoint):
            super()._load_rng_state(checkpoint)

    def _load_best_model(self) -> None:
        """The stock one looks for files of other names, and goes on with the last weights where it finds none."""
        self._load_from_checkpoint(self.state.best_model_checkpoint)


def _is_of(name: str, weights: dict[str, str]) -> bool:
    """Whether a name is that of one of `weights`, or of what belongs to one in four bits (`W.absmax`, ...)."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in weights for end in range(len(parts), max(len(parts) - 3, 0), -1))


__all__ = [
    "OBJECTIVE_FILE",
    "STATE_FILE",
    "CheckpointTrainer",
    "checkpoint_step",
    "is_complete",
    "move_files",
    "newest_checkpoint",
    "writing",
]
