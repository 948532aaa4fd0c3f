"""The adversarial game alone: W_t and W_v play it on stored states, and want to stay where they are.

    python -m benchmarks.adversarial_game [STEPS]

Enters: the start of phase 2 (the text pre-training checkpoint of docs/ablations, click start). Leaves: a table, one
row per setting, of the last quarter of the steps. Every other term of phase 2 is replaced by one that asks the prompts
to stay (a squared error in units of their variance): what a setting does to the discriminators, and at what price, is
seen in seconds; what it does to masks is not.
"""

from __future__ import annotations

import copy
import statistics
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from desa2va.hub import load
from desa2va.training.arguments import DeSa2VATrainingArguments
from desa2va.training.data.refshapes import RefShapes
from desa2va.training.disentangling import AdversarialSchedule, AuxiliaryNetworks
from desa2va.training.label_states import LabelReader
from desa2va.training.warm_start import run_warm_start

START = Path(__file__).parents[1] / "docs" / "ablations" / "start" / "text_pretraining"
SETTINGS = [
    (pairing, loss, weight)
    for pairing in ("crossed", "matched")
    for loss in ("reversal", "non_saturating")
    for weight in (0.02, 0.2, 1.0, 5.0)
]


def read_start(num_batches: int = 40) -> tuple[nn.ModuleDict, dict[str, Tensor]]:
    """W_t and W_v at the start of phase 2, and what they read.

    Returns:
        The projections, and rows by name: `objects` (O, D) `[SEG]` states, `images` (M, D) pooled image-token states,
        `labels` (O, C) the labels' prompts h_l.
    """
    torch.manual_seed(0)
    model, processor = load(str(START))
    dataset = RefShapes("train", level="full", conversations=4, length=1024)
    reader = LabelReader(model, processor.tokenizer)
    arguments = DeSa2VATrainingArguments(
        output_dir="unused", use_cpu=True, warm_start=["fit_text", "fit_visual_to_clicks"]
    )
    run_warm_start(model, processor, dataset, reader, arguments)
    model.eval()
    seen: list[Tensor] = []
    model.decoupling.visual.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    rows: dict[str, list[Tensor]] = {"objects": [], "images": [], "labels": []}
    names = ("input_ids", "attention_mask", "pixel_values", "image_index", "num_tiles")
    for index in range(num_batches):
        batch = processor.collate([dataset[index * 8 + i] for i in range(8)])
        seen.clear()
        with torch.no_grad():
            model(**{name: batch[name] for name in names})
            rows["labels"].append(model.decoupling.label(reader(batch["object_labels"])))
        rows["objects"].append(seen[0][:, 0])
        rows["images"].append(seen[1])
    projections = nn.ModuleDict({"text": model.decoupling.text, "visual": model.decoupling.visual})
    return copy.deepcopy(projections).train(), {name: torch.cat(parts).float() for name, parts in rows.items()}


@torch.no_grad()
def content_kept(moved: Tensor, start: Tensor) -> float:
    """R2 on every second row of a linear map, fitted on the others, from the prompts at the end to those at the
    start (N, C): 1 where they have only been shifted, scaled or turned.
    """
    moved = F.pad(moved, (0, 1), value=1.0)
    weight = torch.linalg.lstsq(moved[::2], start[::2]).solution
    truth = start[1::2]
    return 1.0 - float((moved[1::2] @ weight - truth).square().sum() / (truth - truth.mean(dim=0)).square().sum())


def play(
    projections: nn.ModuleDict,
    rows: dict[str, Tensor],
    pairing: str,
    adversarial_loss: str,
    weight: float,
    steps: int = 400,
    batch_size: int = 32,
) -> dict[str, float]:
    """One game; the auxiliary networks at their defaults, both optimizers at 1e-3, a warm-up of a quarter.

    Returns:
        Means over the last quarter: accuracies, losses, `gradient_*` (norm of the term's unweighted gradient at the
        prompts of a batch), `drift_*` as logged in a training, `moved_*` (the term that asks them to stay); and
        `kept_*`, see `content_kept`, at the end.
    """
    torch.manual_seed(0)
    projections, start = copy.deepcopy(projections), copy.deepcopy(projections).requires_grad_(False)
    scale = {key: start[key](rows["objects"]).var(dim=0).mean() for key in start}
    networks = AuxiliaryNetworks(rows["labels"].shape[1], pairing, adversarial_loss)
    optimizers = [torch.optim.AdamW(module.parameters(), 1e-3) for module in (projections, networks)]
    schedule, log = AdversarialSchedule(warmup_steps=steps // 4), []
    for step in range(steps):
        objects = torch.randint(len(rows["objects"]), (batch_size,))
        states, images = rows["objects"][objects], rows["images"][torch.randint(len(rows["images"]), (batch_size,))]
        features = {key: projections[key](states) for key in projections}
        features |= {"real_text": rows["labels"][objects], "real_visual": projections["visual"](images)}
        term = networks.model_terms(features, schedule.strength(step, steps))["adversarial"]
        slopes = torch.autograd.grad(term, [features[key] for key in projections], retain_graph=True)
        moved = {key: F.mse_loss(features[key], start[key](states)) / scale[key] for key in projections}
        optimizers[0].zero_grad()
        (sum(moved.values()) + weight * term).backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        losses = networks.update_terms(features)
        sum(losses.values()).backward()
        optimizers[1].step()
        figures = networks.metrics(features) | {f"moved_{key}": value for key, value in moved.items()}
        figures |= {"loss_adversarial": term, "discriminator_loss": losses["discriminators"]}
        figures |= {f"gradient_{key}": slope.norm() for key, slope in zip(projections, slopes, strict=True)}
        log.append({name: float(value.detach()) for name, value in figures.items()})
        networks.remember(features)
    kept = {
        f"kept_{key}": content_kept(projections[key](rows["objects"]), start[key](rows["objects"])) for key in start
    }
    return {name: statistics.fmean(entry[name] for entry in log[-(steps // 4) :]) for name in log[-1]} | kept


def main(steps: int = 400) -> None:
    """Prints the table."""
    projections, rows = read_start()
    pairs = (("gradient", ".1e"), ("drift", ".2f"), ("moved", ".2f"), ("kept", ".2f"))
    heads = [f"{name} h_t / h_v" for name, _ in pairs]
    print("| pairing, loss, weight | accuracy D_v / D_t | " + " | ".join(heads) + " |")
    print("|---|---|---|---|---|---|")
    for pairing, adversarial_loss, weight in SETTINGS:
        figures = play(projections, rows, pairing, adversarial_loss, weight, steps)
        cells = [f"{pairing}, {adversarial_loss}, {weight:g}"]
        cells.append(f"{figures['accuracy_visual']:.2f} / {figures['accuracy_text']:.2f}")
        cells += [f"{figures[f'{name}_text']:{form}} / {figures[f'{name}_visual']:{form}}" for name, form in pairs]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))
