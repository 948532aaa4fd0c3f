"""All figures of one checkpoint, from the features of its objects.

`Features` enter, a dictionary of plain values leaves; `docs/probe.md` explains each. Where a kind of feature is absent
(mode `sa2va` has no h_t and no h_l) its figures are absent too. (Paper section 3.2 claims the separation that is
measured here.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from .features import NUISANCES, TEXTUAL_FACTORS, VISUAL_FACTORS, Features
from .information import NEIGHBOURS, measure_information
from .linear import probe_classes, probe_values, without_class_means
from .separability import separability
from .similarity import cosine, debiased_cka

PROBED = ("x", "h_t", "h_v", "h_l")
# What each says: are the two prompts apart; the paper's two pairs (Eq. 4); does a prompt look like its own modality.
DISCRIMINATED = (("h_t", "h_v"), ("V", "h_t"), ("h_l", "h_v"), ("h_l", "h_t"), ("V", "h_v"))
PLACE_WAVES = 4
CORRELATED = (("h_t", "h_v"), ("h_t", "h_l"), ("h_v", "V"))
LEAST_SCENES = 20
LEAST_OBJECTS = 40

Progress = Callable[[int], Any]


def measure(features: Features, seed: int = 0, progress: Progress | None = None) -> dict[str, Any]:
    """Every figure.

    Args:
        features: of one checkpoint. seed: of halves, folds, shuffles, networks and resampling.
        progress: called with 1 after each of `num_measures()` parts.

    Raises:
        ValueError: too few scenes or objects to say anything.
    """
    scenes = len(features.scene.unique()) if len(features) else 0
    if scenes < LEAST_SCENES or len(features) < LEAST_OBJECTS:
        raise ValueError(
            f"a probe needs at least {LEAST_SCENES} scenes with {LEAST_OBJECTS} objects, got {scenes} with "
            f"{len(features)}; raise --scenes"
        )
    tick = progress or (lambda _: None)
    fit = features.fit_half(seed)
    distinct = features.distinct()
    report: dict[str, Any] = {
        "objects": {
            "rows": len(features),
            "distinct": len(distinct),
            "scenes": scenes,
            "fit": int(fit.sum()),
            "held_out": int((~fit).sum()),
        }
    }
    report["probes"] = _probes(features, fit, seed, tick)
    report["selectivity"] = selectivity(report["probes"])
    report["explained"] = _explained(features, fit, seed)
    tick(1)
    report["information"] = _information(distinct, seed)
    tick(1)
    report["separability"] = _separability(features, fit, seed, tick)
    report["similarity"] = _similarity(features, distinct)
    tick(1)
    return report


def num_measures() -> int:
    """How often `measure` reports progress."""
    return len(PROBED) + len(DISCRIMINATED) + 3


def _probes(features: Features, fit: Any, seed: int, tick: Progress) -> dict[str, Any]:
    """Factor -> representation -> score; the textual factors are scored as classes, the others as values."""
    truth = dict(features.values)
    # What size and shape already say about the area is in the words.
    words = features.classes["size"] * len(TEXTUAL_FACTORS["shape"]) + features.classes["shape"]
    truth["log_area"] = without_class_means(truth["log_area"], words, fit)
    found: dict[str, Any] = {name: {} for name in (*TEXTUAL_FACTORS, *VISUAL_FACTORS, *NUISANCES)}
    for kind in PROBED:
        rows = features.states.get(kind)
        for name, row in found.items() if rows is not None else ():
            probe = probe_classes if name in TEXTUAL_FACTORS else probe_values
            values = features.classes[name] if name in TEXTUAL_FACTORS else truth[name]
            row[kind] = probe(rows, values, features.scene, fit, seed)
        tick(1)
    return {
        "textual": {name: found[name] for name in TEXTUAL_FACTORS},
        "visual": {name: found[name] for name in VISUAL_FACTORS},
        "nuisance": {name: found[name] for name in NUISANCES},
    }


def selectivity(probes: dict[str, Any]) -> dict[str, float | None]:
    """Two figures for the whole table of probes, in units of what x tells.

    Returns:
        `textual`: how much more of the textual factors h_t tells than h_v, where a constant answer tells 0 and a
        perfect one 1; `visual`: how much more of the visual factors h_v tells than h_t, in R² (below zero counts as
        zero). Both are summed over factors and divided by the same sum for x: 1 if each prompt tells all of its own
        factors that the state holds and nothing of the other's, 0 if both tell the same, below zero if they have
        swapped roles. `None` where a branch is absent or x tells nothing.
    """

    def above_constant(cell: dict[str, float]) -> float:
        return max((cell["balanced_accuracy"] - cell["constant"]) / (1 - cell["constant"]), 0.0)

    def advantage(part: str, own: str, other: str, scale: Callable[[dict[str, float]], float]) -> float | None:
        rows = [row for row in probes[part].values() if all(row.get(kind) for kind in ("x", own, other))]
        told = sum(scale(row["x"]) for row in rows)
        return sum(scale(row[own]) - scale(row[other]) for row in rows) / told if told > 0.05 else None

    return {
        "textual": advantage("textual", "h_t", "h_v", above_constant),
        "visual": advantage("visual", "h_v", "h_t", lambda cell: max(cell["r2"], 0.0)),
    }


def _explained(features: Features, fit: Any, seed: int) -> dict[str, Any]:
    """The other way round: representation -> share of its variance that the words, the place, or both predict.

    A probe finds a factor however faintly it is written; this says how large it is written.
    """
    classes = [(features.classes[name], len(known)) for name, known in TEXTUAL_FACTORS.items()]
    phrase, count = torch.zeros_like(features.scene), 1
    for index, number in classes:
        phrase, count = phrase * number + index, count * number
    words = torch.cat([F.one_hot(index, number) for index, number in (*classes, (phrase, count))], dim=1).double()
    waves = [
        torch.cos(torch.pi * torch.arange(PLACE_WAVES) * features.values[name][:, None])
        for name in ("center_x", "center_y")
    ]
    place = (waves[0][:, :, None] * waves[1][:, None]).flatten(1)[:, 1:]
    sources = {"words": words, "place": place, "both": torch.cat([words, place], dim=1)}
    return {
        kind: {
            name: probe_values(source, features.states[kind], features.scene, fit, seed)
            for name, source in sources.items()
        }
        for kind in PROBED
        if kind in features.states
    }


def _information(distinct: Features, seed: int) -> dict[str, Any] | None:
    """KSG between the prompts, and how much of one a linear map of the other predicts."""
    states = distinct.states
    if "h_t" not in states:
        return None
    fit = distinct.fit_half(seed)
    return {
        "estimator": f"KSG 1, {NEIGHBOURS} neighbours, nats",
        "components": measure_information(states["h_t"], states["h_v"], distinct.scene, seed),
        "predicted": {
            f"{target} from {source}": probe_values(states[source], states[target], distinct.scene, fit, seed)
            for source, target in (("h_t", "h_v"), ("h_v", "h_t"))
        },
    }


def _separability(features: Features, fit: Any, seed: int, tick: Progress) -> dict[str, Any]:
    report = {}
    for first, second in DISCRIMINATED:
        if first in features.states and second in features.states:
            pair = features.states[first], features.states[second]
            report[pair_name(first, second)] = separability(*pair, features.scene, fit, seed)
        tick(1)
    return report


def _similarity(features: Features, distinct: Features) -> dict[str, Any]:
    """Cosine over all rows; CKA over independent ones: one per object, where V is meant one per scene."""
    states, report = features.states, {"cosine": {}, "cka": {}}
    if "h_t" in states:
        report["cosine"][pair_name("h_t", "h_v")] = cosine(states["h_t"], states["h_v"])
    scenes = features.one_per_scene()
    for first, second in CORRELATED:
        rows = (scenes if "V" in (first, second) else distinct).states
        if first in rows and second in rows:
            report["cka"][pair_name(first, second)] = debiased_cka(rows[first], rows[second])
    return report


def pair_name(first: str, second: str) -> str:
    """The key of a pair in the report."""
    return f"{first} / {second}"


def difference(report: Any, other: Any) -> Any:
    """`report` minus `other`, figure by figure, where both have one; errors and settings are left out.

    Args:
        report: as `measure` returns it. other: the same of another checkpoint.
    """
    if isinstance(report, dict) and isinstance(other, dict):
        skipped = ("se", "penalty", "constant", "shuffled", "shuffled_deviation", "p", "objects", "random_absolute")
        parts = {
            name: difference(report[name], other[name]) for name in report if name in other and name not in skipped
        }
        return {name: part for name, part in parts.items() if part is not None and part != {}} or None
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (report, other)):
        return report - other
    return None


__all__ = ["difference", "measure", "num_measures", "pair_name", "selectivity"]
