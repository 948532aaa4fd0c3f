"""Ablation plans: which variants are trained, from where, with which seeds, and what they are compared with.

Enters: a YAML file, or the name of a plan that comes with the package. Leaves: a `Plan`, whose arms are resolved to
whole training configurations (paper section 4: tables 3 to 9; Sa2VA table 12).
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from desa2va.argument_types import unknown_name
from desa2va.training.field_check import check_fields, check_mapping, declared_fields
from desa2va.training.recipe_file import SECTIONS, check_stage, merge_configs, read_config, read_yaml

PLAN_FOLDER = Path(__file__).resolve().parent / "plans"


@dataclass(frozen=True)
class Arm:
    """One variant.

    Attributes:
        name: its key in the plan. title: its row in the table.
        like: the arm whose settings it starts from, or `""`.
        equal_time: the arm whose training time it gets: as many steps as fit into that, in place of equal steps.
        start_from: stage of the plan's recipe it starts from; the plan's own when empty.
        settings: differences of the training configuration (`model`, `data`, `mask_loss`, `training`).
    """

    name: str
    title: str = ""
    like: str = ""
    equal_time: str = ""
    start_from: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rates:
    """How each arm's learning rates are chosen: by a short run with every factor, scored on the split `validation`.

    Attributes:
        factors: of both learning rates. steps, seed: of the short runs. scenes: they are scored on.
    """

    factors: tuple[float, ...] = (0.5, 1.0, 2.0)
    steps: int = 500
    seed: int = 1000
    scenes: int = 300


@dataclass(frozen=True)
class Plan:
    """A table to be measured.

    Attributes:
        name: file name of the plan. title, claim: what is compared, and what the paper says about it.
        recipe: training recipe whose stages the arms start from; missing stages are trained first.
        start_from: stage of that recipe. config: packaged configuration all arms share. settings: differences to it.
        reference: the arm all others are compared with. arms: by name, in the order of the table.
        seeds: of data order and new weights. scenes, questions, videos: how many are scored, see `evaluate_refshapes`.
        starts: seeds of independent trainings of that recipe, each in a folder of that name; seed s of the plan uses
            number s modulo their count. None: the recipe's folder itself.
        rates: how learning rates are chosen; `None` leaves those of the configuration.
        scores: `"refshapes"` or `"decoupling"`; see `scoring.py`. probe: scenes of the probe of the two prompts; 0
            for none.
        contrasts: arm -> the arms it is compared with, with intervals; see `contrasts.py`.
        level: of RefShapes. metrics: columns of the table with their headings: dotted paths into a run's report, or
            with `last.` into the last entry of its training log.
    """

    name: str
    title: str
    arms: dict[str, Arm]
    reference: str
    claim: str = ""
    recipe: str = "tiny"
    start_from: str = "text_pretraining"
    config: str = "tiny/ablation"
    settings: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    scenes: int = 1000
    questions: int = 0
    videos: int = 0
    level: str = "standard"
    metrics: dict[str, str] = field(default_factory=lambda: {"ciou": "cIoU"})
    starts: tuple[int, ...] = ()
    rates: Rates | None = None
    scores: str = "refshapes"
    probe: int = 0
    contrasts: dict[str, list[str]] = field(default_factory=dict)

    def start(self, arm: Arm) -> str:
        """Stage of the recipe that `arm` starts from."""
        parent = self.arms.get(arm.like)
        return arm.start_from or (self.start(parent) if parent else self.start_from)

    def start_folder(self, arm: Arm, seed: int) -> str:
        """The same as a folder below that of the recipe, for a seed."""
        stage = self.start(arm)
        return f"{self.starts[seed % len(self.starts)]}/{stage}" if self.starts else stage

    def stage(self, arm: Arm, seed: int) -> dict[str, Any]:
        """The arm's whole training configuration but for folders; `training.max_steps` as for equal steps."""
        chain = [arm]
        while chain[0].like:
            chain.insert(0, self.arms[chain[0].like])
        config = merge_configs(read_config(self.config), self.settings)
        for link in chain:
            config = merge_configs(config, copy.deepcopy(link.settings))
        config.pop("name", None)
        return {**config, "seed": seed}

    def scoring(self) -> dict[str, Any]:
        """What is scored, and on how much; see `scoring.py`."""
        if self.scores == "decoupling":
            options = self.settings.get("data", {}).get("options", {})
            kept = {name: options.get(name, []) for name in ("held_out", "unasked")}
            return {"scores": self.scores, "scenes": self.scenes, "probe": self.probe, **kept}
        return {"level": self.level, "limit": self.scenes, "questions": self.questions, "videos": self.videos}


def read_plan(name: str) -> Plan:
    """The plan at a path, or the packaged one of that name.

    Raises:
        FileNotFoundError: neither exists. ValueError: a field, an arm or a reference that can not be.
    """
    path = Path(name)
    if not path.is_file():
        path = PLAN_FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"there is no plan file of that name, and {unknown_name(name, packaged_plans())}")
    content = _with_base(path, check_mapping(read_yaml(path), str(path)))
    if not {"title", "arms", "reference"} <= set(content):
        raise ValueError(f"{path} must be a mapping with title, reference and arms")
    known = {**declared_fields(Plan), "arms": dict, "seeds": list[int], "starts": list[int], "rates": dict}
    known.pop("name")
    content = check_fields(content, known, str(path))
    arms = {key: _arm(path, key, value or {}) for key, value in content.pop("arms").items()}
    for name in {"seeds", "starts"} & set(content):
        content[name] = tuple(content[name])
    if "rates" in content:
        rates = check_fields(content["rates"], {**declared_fields(Rates), "factors": list[float]}, f"{path}.rates")
        content["rates"] = Rates(**{**rates, "factors": tuple(map(float, rates.get("factors", Rates.factors)))})
    plan = Plan(name=path.stem, arms=arms, **content)
    _check(path, plan)
    return plan


def _with_base(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """A plan that changes another: `base` names that one, `only` the arms that are kept of it.

    Contrasts between arms that are not kept go with them, and so does what is set to null.
    """
    base, only = content.pop("base", None), content.pop("only", None)
    if base is None:
        return content
    merged = merge_configs(check_mapping(read_yaml(PLAN_FOLDER / f"{base}.yaml"), base), content)
    merged = {key: value for key, value in merged.items() if value is not None}
    if only is None:
        return merged
    if missing := [name for name in only if name not in merged["arms"]]:
        raise ValueError(f"{path}: only holds {missing[0]!r}, which is no arm of {base}")
    merged["arms"] = {name: merged["arms"][name] for name in only}
    contrasts = merged.get("contrasts", {}).items()
    kept = {name: [other for other in others if other in only] for name, others in contrasts if name in only}
    return {**merged, "contrasts": {name: others for name, others in kept.items() if others}}


def packaged_plans() -> list[str]:
    """Names of the plans that come with the package."""
    return sorted(path.stem for path in PLAN_FOLDER.glob("*.yaml"))


def _arm(path: Path, name: str, content: dict[str, Any]) -> Arm:
    known = dict.fromkeys(("title", "like", "equal_time", "start_from"), str) | dict.fromkeys(SECTIONS, dict)
    content = check_fields(content, known, f"{path}, arm {name!r}")
    settings = {key: content.pop(key) for key in SECTIONS if key in content}
    return Arm(name, settings=settings, **{"title": name, **content})


def _check(path: Path, plan: Plan) -> None:
    """Raises `ValueError` naming the arm that points nowhere."""
    if plan.reference not in plan.arms:
        raise ValueError(f"{path}: reference {plan.reference!r} is no arm; arms are {', '.join(plan.arms)}")
    if not plan.seeds or plan.scenes < 1:
        raise ValueError(f"{path}: seeds must not be empty and scenes be at least 1")
    if plan.scores not in ("refshapes", "decoupling"):
        raise ValueError(f"{path}: scores={plan.scores!r} is unknown; choose one of refshapes, decoupling")
    if plan.scores == "refshapes" and (plan.rates or plan.contrasts or plan.probe):
        raise ValueError(f"{path}: rates, contrasts and probe need scores=decoupling")
    for name in (name for contrast in plan.contrasts.items() for name in (contrast[0], *contrast[1])):
        if name not in plan.arms:
            raise ValueError(f"{path}: contrasts hold {name!r}, which is no arm; arms are {', '.join(plan.arms)}")
    for arm in plan.arms.values():
        for key in ("like", "equal_time"):
            target = getattr(arm, key)
            if target and (target not in plan.arms or target == arm.name):
                raise ValueError(f"{path}, arm {arm.name!r}: {key}={target!r} is no other arm of the plan")
        seen, link = set(), arm
        while link.like:
            if link.name in seen:
                raise ValueError(f"{path}: arms {sorted(seen)} are like one another in a circle")
            seen.add(link.name)
            link = plan.arms[link.like]
        check_stage(plan.stage(arm, plan.seeds[0]), f"{path}, arm {arm.name!r}")
        if arm.equal_time and (plan.arms[arm.equal_time].equal_time or not arm.like):
            raise ValueError(
                f"{path}, arm {arm.name!r}: equal_time needs `like`, and an arm trained for its own number of steps"
            )


def fingerprint(config: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that name a configuration: equal arms of different plans share one run."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


__all__ = ["PLAN_FOLDER", "Arm", "Plan", "Rates", "fingerprint", "packaged_plans", "read_plan"]
