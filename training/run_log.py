"""What a run tells of itself beside its terms: its speed, the share of waiting, a file, and reports that end.

Enters: a trainer's steps and log entries. Leaves: `samples_per_second` and `data_wait` in every log, `log.jsonl` in
the run's folder, and every report of `report_to` closed when its stage is. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState

from .arguments import DeSa2VATrainingArguments

LOG_FILE = "log.jsonl"


class StepClock(TrainerCallback):
    """Seconds of steps, and of them those in which the next batch was awaited.

    A step begins when its batches are asked for and ends when its optimizer has stepped; saving, validating and
    logging are no part of it. The clock is the host's and waits for no device: the trainer reads its losses in every
    step, so what a device still does when a step ends is the next one's.
    """

    def __init__(self) -> None:
        self._began = 0.0
        self._clear()

    def _clear(self) -> None:
        self._seconds = self._waited = 0.0
        self._samples = 0

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Around the call that fetches the batches of a step."""
        self._began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - self._began

    def count(self, samples: int) -> None:
        """Adds the samples of a step, of this process."""
        self._samples += samples

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Ends a step."""
        self._seconds += time.perf_counter() - self._began

    def figures(self, processes: int) -> dict[str, float]:
        """`samples_per_second` of all processes, `data_wait` in [0, 1], since the last call; empty without a step."""
        seconds, waited, samples = self._seconds, self._waited, self._samples
        self._clear()
        if not seconds:
            return {}
        return {"samples_per_second": processes * samples / seconds, "data_wait": min(waited / seconds, 1.0)}


class JsonLog(TrainerCallback):
    """Every entry of the log history as a line of `log.jsonl`, as soon as it is made; `trainer_state.json` has them
    when a checkpoint is written. A run that goes on takes back the lines its checkpoint does not know.
    """

    def __init__(self) -> None:
        self._written = 0

    def on_train_begin(
        self, args: DeSa2VATrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The history as it is, in place of what was there; a run that is ended early has the file too."""
        self._written = 0
        self.on_log(args, state, control)

    def on_log(
        self, args: DeSa2VATrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """What is new in the history."""
        new, mode = state.log_history[self._written :], "a" if self._written else "w"
        self._written += len(new)
        if state.is_world_process_zero and (new or mode == "w"):
            path = Path(args.output_dir, LOG_FILE)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open(mode, encoding="utf-8") as file:
                file.writelines(json.dumps(entry) + "\n" for entry in new)


def end_reports(trainer: Trainer) -> None:
    """Ends the reports of a stage: the next stage of a recipe would go on in the same run of W&B, from step 0."""
    for callback in trainer.callback_handler.callbacks:
        name = type(callback).__name__
        if name == "TensorBoardCallback" and callback.tb_writer is not None:
            callback.tb_writer.close()
        elif name == "WandbCallback" and callback._wandb.run is not None:
            callback._wandb.finish()
        elif name == "TrackioCallback" and callback._initialized:
            callback._trackio.finish()


__all__ = ["LOG_FILE", "JsonLog", "StepClock", "end_reports"]
