"""`DeSa2VATrainer`: transformers' Trainer around an objective, with the auxiliary networks beside it.

Enters: an `Objective`, arguments, data. Leaves: a trained model. This is the one place where weights meet loss
terms. A step reads: forward, add the auxiliary networks' terms, backward (stock), optimizer step (stock), then
refresh the auxiliary networks on the detached features and remember those. Auxiliary networks have their own
optimizer and are outside the wrapped model, so that DDP and FSDP treat the model alone, and a released checkpoint
cannot contain them.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_utils import EvalLoopOutput, IntervalStrategy, TrainOutput

from .arguments import DeSa2VATrainingArguments
from .checkpoints import CheckpointTrainer, checkpoint_step
from .data.collator import Collator
from .data.mixture import Mixture
from .data.sampling import ReadingOrder
from .data.streams import EndlessStream, StreamedDataset
from .disentangling import AuxiliaryNetworks
from .label_states import LabelReader
from .objectives.base import Objective
from .optimizers import build_optimizer
from .overlays import draw_overlays, fixed_samples, report_picture
from .run_log import JsonLog, StepClock
from .state_file import find_state, read_state, write_state

logger = logging.getLogger(__name__)

LOOKS = 5  # steps from which a log takes the auxiliary networks' figures; a look costs as much as their learning
AUXILIARY_FILE = "auxiliary.safetensors"
PHRASES_FILE = "phrases.json"
# What a term is the mean of: label tokens, non-empty masks, object-frame pairs, or objects. Others are means over the
# batch.
UNITS = ("tokens", "masks", "pairs", "objects")
COUNTED_BY = {
    "language": "tokens",
    "visual_mask": "masks",
    "text_mask": "masks",
    "fused_mask": "masks",
    "label_mask": "masks",
    "alignment": "objects",
    "iou": "masks",
    "object_score": "pairs",
    "orthogonality": "pairs",
    "adversarial": "objects",
    "club": "objects",
}


class DataEpochs(TrainerCallback):
    """Tells the data which epoch begins, and the order it is read in; accelerate reaches neither in every case (not a
    sampler under the batches that a resumed process of several skips).
    """

    order: ReadingOrder | None = None

    def on_epoch_begin(
        self,
        args: DeSa2VATrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """`set_epoch` of the data set, where it has one, and of the order."""
        if self.order is not None:
            self.order.set_epoch(int(state.epoch or 0))
        dataset = getattr(train_dataloader, "dataset", None)
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(int(state.epoch or 0))


class DeSa2VATrainer(CheckpointTrainer):
    """Trains one phase.

    Args:
        model: the objective, whose `model` is trained. args: arguments. auxiliary: discriminators and CLUB, or `None`.
        scorer: from the model to figures that every validation adds as `eval_score_*`; called by every process.
        kwargs: the rest of `Trainer`'s.
    """

    def __init__(
        self,
        model: Objective,
        args: DeSa2VATrainingArguments,
        auxiliary: AuxiliaryNetworks | None = None,
        scorer: Callable[[Any], dict[str, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        self._scorer, self._shown = scorer, None
        if scorer is not None and kwargs.get("eval_dataset") is None:
            kwargs["eval_dataset"] = []  # a validation of scores alone
        super().__init__(model=model, args=args, **kwargs)
        self._epochs = DataEpochs()
        self._clock = StepClock()
        for callback in (self._epochs, self._clock, JsonLog()):
            self.add_callback(callback)
        # Terms are means already; see `get_batch_samples` for the exact mean over an accumulation window.
        self.model_accepts_loss_kwargs = False
        self.auxiliary = auxiliary.to(args.device) if auxiliary is not None else None
        if self.auxiliary is not None:
            rate = args.auxiliary_learning_rate
            other = rate if args.discriminator_learning_rate is None else args.discriminator_learning_rate
            self.auxiliary_optimizer = torch.optim.AdamW(self.auxiliary.parameter_groups(rate, other), fused=True)
            if dist.is_initialized():
                for value in self.auxiliary.state_dict().values():
                    dist.broadcast(value, 0)
        self._schedule = args.adversarial_schedule()
        self._batches_read = 0
        self._features: list[dict[str, torch.Tensor]] = []
        self._logged: dict[str, list[torch.Tensor | float]] = defaultdict(list)

    # ------------------------------------------------------------------------------------------------ step

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """The stock order, but for a mixture, which has its own, and for `group_by_length`, which knows our costs."""
        dataset = self.train_dataset if train_dataset is None else train_dataset
        args = self.args
        grouped = args.train_sampling_strategy == "group_by_length" and hasattr(dataset, "__len__")
        if not grouped and not isinstance(dataset, Mixture):
            return super()._get_train_sampler(train_dataset)
        seed = args.seed if args.data_seed is None else args.data_seed
        group = args.train_batch_size * args.world_size if grouped else 1
        self._epochs.order = ReadingOrder(dataset, seed, group)
        return self._epochs.order

    def train(self, resume_from_checkpoint: str | None = None, **kwargs: Any) -> TrainOutput:
        """Stock training; a stream finds its place by itself, without making the samples that were read before."""
        if isinstance(self.train_dataset, StreamedDataset):
            self.args.ignore_data_skip = True
            self._batches_read = checkpoint_step(resume_from_checkpoint) * self.args.gradient_accumulation_steps
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def get_train_dataloader(self) -> DataLoader:
        """The stock loader, but for a stream, whose readers share its records themselves: accelerate would read all
        of it in every process, or send from the first one what no message can hold.
        """
        if not isinstance(self.train_dataset, StreamedDataset):
            return super().get_train_dataloader()
        args = self.args
        return DataLoader(
            EndlessStream(
                self.train_dataset, args.train_batch_size, args.process_index, args.world_size, self._batches_read
            ),
            batch_size=args.train_batch_size,
            collate_fn=self.data_collator,
            # A loader draws a seed when it begins; from the training's generator a resumed run would draw once more.
            generator=torch.Generator(),
            num_workers=args.dataloader_num_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            pin_memory=args.dataloader_pin_memory,
        )

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW, with Muon beside it where the arguments ask for it."""
        if self.optimizer is None:
            args = self.args
            self.optimizer = build_optimizer(
                self.model.named_parameters(),
                learning_rate=args.learning_rate,
                weight_decay=args.weight_decay,
                betas=(args.adam_beta1, args.adam_beta2),
                muon_learning_rate=args.muon_learning_rate,
                muon_modules=tuple(f"model.{prefix}" for prefix in args.muon_modules),
            )
        return self.optimizer

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Stock batches of one accumulation window, each with the share it has in the window's exact mean."""
        with self._clock.awaited():
            batches, num_items = super().get_batch_samples(*args, **kwargs)
        self._clock.count(sum(_num_samples(batch) for batch in batches))
        processes = dist.get_world_size() if dist.is_initialized() else 1
        if len(batches) * processes > 1:
            counts = torch.stack([_counts(batch) for batch in batches]).cpu()
            total = counts.sum(dim=0).to(self.args.device)
            if processes > 1:
                dist.all_reduce(total)
            shares = counts.double() * len(batches) * processes / total.cpu().clamp(min=1)
            for batch, row in zip(batches, shares.tolist(), strict=True):
                batch["shares"] = dict(zip(UNITS, row, strict=True))
        return batches, num_items

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Weighted sum of the objective's terms and of the auxiliary networks'."""
        shares = inputs.pop("shares", {})
        output = model(**inputs)
        terms, weights = dict(output["terms"]), self.args.weights
        if self.auxiliary is not None and output.get("features"):
            strength = self._schedule.strength(self.state.global_step, self.state.max_steps)
            self._logged["adversarial_strength"].append(strength)
            terms |= self.auxiliary.model_terms(output["features"], strength)
            self._features.append({name: value.detach() for name, value in output["features"].items()})
        loss = 0.0
        for name, term in terms.items():
            loss = loss + weights.get(name, 0.0) * shares.get(COUNTED_BY.get(name, ""), 1.0) * term
            self._logged[f"loss_{name}"].append(term.detach())  # read when they are logged: reading waits for a device
        for name, value in output.get("metrics", {}).items():
            self._logged[name].append(value.detach())
        if not torch.isfinite(loss):
            broken = [name for name, term in terms.items() if not torch.isfinite(term)]
            raise FloatingPointError(
                f"step {self.state.global_step}: loss is {loss.item()}; non-finite terms: {broken}"
            )
        return (loss, output) if return_outputs else loss

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Stock step; after the last micro-batch of a step the auxiliary networks have theirs."""
        loss = super().training_step(*args, **kwargs)
        if self.accelerator.sync_gradients:
            self.accelerator.unwrap_model(self.model).end_step()
        if self.auxiliary is not None and self.accelerator.sync_gradients and self._features:
            features = {name: torch.cat([part[name] for part in self._features]) for name in self._features[0]}
            self._features = []
            # Every process learns from the features of all, and draws alike.
            with self._drawing(self.args.seed + self.state.global_step):
                self._refresh_auxiliary(self.auxiliary.gather(features))
        return loss

    def _refresh_auxiliary(self, features: dict[str, torch.Tensor]) -> None:
        """Every k steps one optimizer step on detached features, and `club_steps` for q; then the queue remembers
        them. A step without objects in any process teaches nothing.
        """
        if self.state.global_step % self.args.auxiliary_every == 0 and len(features["text"]):
            losses = self.auxiliary.update_terms(features)
            self._logged["discriminator_loss"].append(losses["discriminators"].detach())
            self._auxiliary_step(sum(losses.values()), self.auxiliary)
            for _ in range(self.args.club_steps - 1):
                self._auxiliary_step(self.auxiliary.club_update(features), self.auxiliary.club)
        # The neutral figures of a step without objects would only dilute the mean.
        if len(features["text"]) and self._looks_at_auxiliary():
            for name, value in self.auxiliary.metrics(features).items():
                self._logged[name].append(value)
        self.auxiliary.remember(features)

    def _looks_at_auxiliary(self) -> bool:
        """Whether this step's figures of the auxiliary networks go into the next log, which is a mean of `LOOKS`."""
        if self.args.logging_strategy != IntervalStrategy.STEPS:
            return True
        return (self.state.global_step + 1) % max(1, self.state.logging_steps // LOOKS) == 0

    def _auxiliary_step(self, loss: torch.Tensor, networks: torch.nn.Module) -> None:
        """One optimizer step of `networks` on a loss that is the same on every process, up to rounding."""
        parameters = [p for p in networks.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        flat = torch.cat(
            [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, gradients, strict=True)]
        )
        if dist.is_initialized():  # what devices round differently must not part them
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
        pieces = flat.split([p.numel() for p in parameters])
        for parameter, gradient in zip(parameters, pieces, strict=True):
            parameter.grad = gradient.view_as(parameter)
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        self.auxiliary_optimizer.step()
        self.auxiliary_optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def _drawing(self, seed: int) -> Iterator[None]:
        """Within the block random numbers are those of `seed`; afterwards they go on as if there had been none."""
        with torch.random.fork_rng([self.args.device] if self.args.device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Stock move to the device, and what a `Collator` has left to be made there."""
        inputs = super()._prepare_inputs(inputs)
        return self.data_collator.finish(inputs) if isinstance(self.data_collator, Collator) else inputs

    # ------------------------------------------------------------------------------------------------ logs

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Stock log plus the mean of every term and metric since the last one, over all processes."""
        if "loss" in logs and self._logged:
            known = {name: _known(values) for name, values in self._logged.items()}
            means = {name: sum(values) / len(values) for name, values in known.items() if values}
            means |= self._clock.figures(self.args.world_size)
            self._logged = defaultdict(list)
            if dist.is_initialized() and dist.get_world_size() > 1:
                means = self._mean_over_processes(means)
            means |= self.auxiliary.offline() if self.auxiliary is not None else {}
            logs |= {name: round(value, 5) for name, value in sorted(means.items())}
        super().log(logs, *args, **kwargs)

    @staticmethod
    def _mean_over_processes(means: dict[str, float]) -> dict[str, float]:
        gathered: list[dict[str, float]] = [{} for _ in range(dist.get_world_size())]
        dist.all_gather_object(gathered, means)
        names = sorted(set().union(*gathered))
        columns = {name: [part[name] for part in gathered if name in part] for name in names}
        return {name: sum(values) / len(values) for name, values in columns.items()}

    # ------------------------------------------------------------------------------------------------ validation

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        """Stock loop; the metrics are `eval_loss`, the weighted sum of all terms, and every term and metric by name.

        Each is the mean over its own items in all processes. What a phase draws is drawn from the seed, the same at
        every validation, and the training draws on as if there had been none. The game of the auxiliary networks is
        left out.
        """
        self._validated = defaultdict(lambda: [0.0, 0.0])
        with self._drawing(self.args.seed):
            if self.eval_dataset == []:
                output = EvalLoopOutput(None, None, {}, 0)
            else:
                output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
            scores = self._scorer(self.accelerator.unwrap_model(self.model).model) if self._scorer else {}
        means = self._validated_means()
        weights = self.args.weights
        total = sum(weight * means.get(f"loss_{name}", 0.0) for name, weight in weights.items())
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in sorted(means.items())})
        output.metrics.update({f"{metric_key_prefix}_score_{name}": value for name, value in scores.items()})
        if means:
            output.metrics[f"{metric_key_prefix}_loss"] = total
        return output

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Stock validation, then its overlays: reports closed when the steps ended are open again by then."""
        metrics = super().evaluate(*args, **kwargs)
        self._draw_overlays()
        return metrics

    def _draw_overlays(self) -> None:
        """`overlays/step_N.png` of the first validation samples, by the first process."""
        wanted = self.args.phase in ("decoupling", "fusion") and not self.is_fsdp_enabled  # no process has it whole
        if not wanted or not self.is_world_process_zero():
            return
        if self._shown is None:
            self._shown = fixed_samples(self.eval_dataset, self.args.overlay_samples)
        if self._shown:
            path = Path(self.args.output_dir, "overlays", f"step_{self.state.global_step}.png")
            objective = self.accelerator.unwrap_model(self.model)
            with self.compute_loss_context_manager():
                draw_overlays(objective, self._shown, lambda of: self._prepare_inputs(self.data_collator(of)), path)
            report_picture(self, path)

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> tuple[Any, None, None]:
        """Adds what one batch says to the sums of a validation. Returns its loss and nothing else."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            output = model(**inputs)
        counts = dict(zip(UNITS, _counts(inputs).tolist(), strict=True))
        values = {f"loss_{name}": (value, COUNTED_BY.get(name)) for name, value in output["terms"].items()}
        values |= {name: (value, "masks") for name, value in output.get("metrics", {}).items()}
        numbers = torch.stack([value for value, _ in values.values()]).tolist() if values else []  # one wait for all
        for (name, (_, unit)), number in zip(values.items(), numbers, strict=True):
            count = counts.get(unit, 1)
            if count and math.isfinite(number):
                total = self._validated[name]
                total[0], total[1] = total[0] + number * count, total[1] + count
        loss = sum(self.args.weights.get(name, 0.0) * term for name, term in output["terms"].items())
        return loss.detach(), None, None

    def _validated_means(self) -> dict[str, float]:
        gathered = [{name: tuple(total) for name, total in self._validated.items()}]
        if dist.is_initialized():
            gathered = [{} for _ in range(dist.get_world_size())]
            dist.all_gather_object(gathered, {name: tuple(total) for name, total in self._validated.items()})
        names = sorted(set().union(*gathered))
        totals = {name: [part[name] for part in gathered if name in part] for name in names}
        return {name: sum(value for value, _ in of) / sum(count for _, count in of) for name, of in totals.items()}

    # ------------------------------------------------------------------------------------------------ checkpoints

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.auxiliary is not None and self.args.should_save:
            state = {"networks": self.auxiliary.state_dict(), "optimizer": self.auxiliary_optimizer.state_dict()}
            write_state(state, os.path.join(output_dir, AUXILIARY_FILE))
        if self._reader() is not None:
            self._reader().seen.gather()
            if self.args.should_save:
                phrases = self._reader().seen.phrases()
                Path(output_dir, PHRASES_FILE).write_text(json.dumps(phrases, indent=0) + "\n", encoding="utf-8")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        path = find_state(checkpoint, AUXILIARY_FILE) if checkpoint else None
        if self.auxiliary is not None and path is not None:
            state = read_state(path)
            if set(state["networks"]) != set(self.auxiliary.state_dict()):
                logger.warning(
                    "%s was written by an older version with another CLUB: discriminators, q, queue and statistics "
                    "start anew, everything else resumes",
                    path,
                )
                return
            self.auxiliary.load_state_dict(state["networks"])
            self.auxiliary_optimizer.load_state_dict(state["optimizer"])

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        path = Path(resume_from_checkpoint, PHRASES_FILE)
        if self._reader() is not None and path.is_file():
            self._reader().seen.add(json.loads(path.read_text(encoding="utf-8")))

    def _reader(self) -> LabelReader | None:
        return self.accelerator.unwrap_model(self.model).label_reader


def _known(values: list[torch.Tensor | float]) -> list[float]:
    """Numbers, those on a device fetched at once; without the NaN of a metric that had nothing to measure."""
    numbers = torch.stack(values).tolist() if isinstance(values[0], torch.Tensor) else values
    return [number for number in numbers if not math.isnan(number)]


def _num_samples(batch: dict[str, Any]) -> int:
    """Samples of one batch: those a `Collator` names; without one every sequence counts."""
    return len(batch.get("samples", batch["labels"]))


def _counts(batch: dict[str, Any]) -> torch.Tensor:
    """`UNITS` of one batch, (4,) int64 where it lies: label tokens, non-empty masks, object-frame pairs, objects."""
    masks, labels = batch["mask_labels"], batch["labels"]
    tokens = (labels[:, 1:] != -100).sum()
    present = sum(
        (part.flatten(1).any(dim=1).sum().to(labels.device) for part in masks), start=torch.zeros_like(tokens)
    )
    sizes = torch.tensor([sum(len(part) for part in masks), len(masks)], device=labels.device)
    return torch.cat([torch.stack([tokens, present]), sizes])
