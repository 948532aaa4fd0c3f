"""Configurations of trainings: read from YAML, changed by overrides, checked to the last key.

Enters: a path or the name of a packaged configuration, and `section.key=value` entries. Leaves: a mapping in which
every key is one that something reads. A key nobody reads would train without a word, so it is an error, with the
nearest known one.
"""

from __future__ import annotations

import math
import re
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import yaml

from desa2va.configuration.configuration_desa2va import DeSa2VAConfig

from .arguments import LOSS_TERMS, DataArguments, DeSa2VATrainingArguments, MaskLossArguments
from .data.build import option_fields
from .field_check import check_fields, check_mapping, check_value, declared_fields, unknown_key

CONFIG_FOLDER = Path(__file__).resolve().parent / "configs"
SECTIONS = ("model", "data", "mask_loss", "training", "score")
# What stands beside the sections, in a recipe and in a stage of it.
SCALARS = {"output_dir": str | PathLike, "init_from": str | PathLike | None, "name": str, "seed": int}
# How `init_from` is read where it names published weights; as in `desa2va.load`.
PUBLISHED = {"sam2": str | PathLike | None, "init_desa2va": bool}
SCALARS |= PUBLISHED
RECIPE_KEYS = (*SECTIONS, *SCALARS, "stages")
STAGE_KEYS = (*SECTIONS, *(key for key in SCALARS if key != "output_dir"), "config", "start_from")
# Both say how long to train; where a recipe says one and what goes before it the other, the other holds.
LENGTHS = ("max_steps", "num_train_epochs")
SCORE = {"benchmark": str, "data": str, "limit": int, "batch_size": int, "prompt": str}
PART = {"dataset": str, "options": dict, "share": float, "repeats": float}
# Arguments of transformers that this program sets itself, and what to do instead.
OWN = {
    "output_dir": "set output_dir at the top of the configuration",
    "resume_from_checkpoint": "an unfinished stage resumes by itself when the command is repeated",
}


class _Loader(yaml.SafeLoader):
    """YAML in which `1e-4` is a number and a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, key in enumerate(keys):
            if key.value in (earlier.value for earlier in keys[:number]):
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_config(name: str) -> dict[str, Any]:
    """The configuration at a path, or the packaged one of that name.

    Raises:
        FileNotFoundError: neither exists. ValueError: no YAML, no mapping, or a key nobody reads.
    """
    path = Path(name)
    if not path.is_file():
        path = CONFIG_FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = sorted(str(p.relative_to(CONFIG_FOLDER).with_suffix("")) for p in CONFIG_FOLDER.rglob("*.yaml"))
        raise FileNotFoundError(f"no configuration file {name!r} and no packaged one; packaged: {', '.join(known)}")
    return check_config(read_yaml(path), str(path))


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        ValueError: no YAML, or no UTF-8; file and line are named.
    """
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is no YAML: {_place_of(error)}") from error


def _parsed(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader


def _place_of(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return f"{place}{getattr(error, 'problem', None) or error}"


def apply_overrides(config: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Sets `section.key=value` entries (values are YAML) in a configuration; in a recipe they hold for every stage.

    Raises:
        ValueError: an entry that is no `key=value`, whose value is no YAML, or whose key nobody reads; two lengths.
    """
    lengths = {}
    for entry in overrides:
        key, sign, text = entry.partition("=")
        if not sign:
            raise ValueError(f"override {entry!r} must read section.key=value")
        try:
            value = _parsed(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(f"override {entry!r}: the value is no YAML: {_place_of(error)}") from error
        names = key.split(".")
        if names[0] == "training" and names[-1] in LENGTHS:
            lengths[names[-1]] = value
        _set(config, names, value, entry)
        # A stage's own settings go before the recipe's: what was asked for by hand would be lost there.
        for stage in (config.get("stages") or []) if names[0] in (*SECTIONS, "seed") else []:
            _set(stage, names, value, entry)
    _check_lengths(lengths, "overrides: training")
    return check_config(config, "overrides") if overrides else config


def _set(place: dict[str, Any], names: list[str], value: Any, entry: str) -> None:
    for depth, name in enumerate(names[:-1], start=1):
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            kind = "a list, change it in the file" if isinstance(place, list) else "no section"
            raise ValueError(f"override {entry!r}: {'.'.join(names[:depth])} is {kind}")
    if _lengths({names[-1]: value}):
        for other in LENGTHS:
            place.pop(other, None)
    place[names[-1]] = value


def merge_configs(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`change` on top of `base`, mapping by mapping; neither is altered."""
    merged = _without_other_lengths(base, change)
    for key, value in change.items():
        inner = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge_configs(merged[key], value) if inner else value
    return merged


def _lengths(values: dict[str, Any]) -> list[str]:
    """Which of them say how long a training is; -1 steps is transformers' "as long as the epochs"."""
    return [name for name in LENGTHS if name in values and values[name] != -1]


def _without_other_lengths(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A copy of `base`, without its length where `change` has one: steps would go before epochs, without a word."""
    return {key: value for key, value in base.items() if key not in LENGTHS or not _lengths(change)}


def _check_lengths(values: dict[str, Any], where: str) -> None:
    if len(_lengths(values)) > 1:
        raise ValueError(f"{where}: max_steps and num_train_epochs both say how long to train: give one of them")


# ------------------------------------------------------------------------------------------------ checks


def check_config(config: Any, where: str) -> dict[str, Any]:
    """The configuration with numbers as numbers; every key at every depth is known.

    Args:
        config: of a recipe or of a single stage. where: its file, for errors.

    Raises:
        ValueError: the first thing that is wrong, in one sentence.
    """
    checked = _check_part(config, RECIPE_KEYS, where)
    if "stages" in checked:
        stages = checked["stages"]
        if not isinstance(stages, list) or not stages:
            raise ValueError(f"{where}: stages must be a list of at least one stage, got {stages!r}")
        checked["stages"] = [
            _check_part(stage, STAGE_KEYS, f"{where}: stages[{number}]") for number, stage in enumerate(stages)
        ]
    return checked


def _check_part(config: Any, known: tuple[str, ...], where: str) -> dict[str, Any]:
    """A recipe without its stages, or a stage."""
    config = check_mapping(config, where)
    checks = {"model": _check_model, "data": _check_data, "mask_loss": _check_mask_loss, "training": _check_training}
    checks |= {"score": _check_score}
    scalars = {**SCALARS, "config": str, "start_from": str}
    for key, value in config.items():
        if key not in known:
            raise unknown_key(key, known, where)
        if key in checks:
            config[key] = checks[key](value, f"{where}: {key}")
        elif key in scalars:
            config[key] = check_value(value, scalars[key], f"{where}: {key}")
    return config


@cache
def model_fields() -> dict[str, Any]:
    """What section `model` may change: DeSa2VA's own fields, not those of the two models inside."""
    declared = declared_fields(DeSa2VAConfig)
    return {
        "preset": str,
        "dtype": Literal["float32", "bfloat16"],
        "quantization": Literal["nf4"],
        "image_size": int,  # of SAM-2's input: a number inside its configuration that weights do not depend on
        **{name: hint for name, hint in declared.items() if not name.endswith("_config")},
    }


def _check_model(values: Any, where: str) -> dict[str, Any]:
    return check_fields(values, model_fields(), where)


def _check_mask_loss(values: Any, where: str) -> dict[str, Any]:
    return check_fields(values, declared_fields(MaskLossArguments), where)


def _check_training(values: Any, where: str) -> dict[str, Any]:
    values = check_mapping(values, where)
    for key in values:
        if key in OWN:
            raise ValueError(f"{where}.{key} has no effect here: {OWN[key]}")
    for name in ("save_strategy", "eval_strategy", "logging_strategy"):
        if values.get(name) is False:  # YAML's reading of a bare `no`
            values[name] = "no"
    declared = declared_fields(DeSa2VATrainingArguments)
    # transformers means `true` and declares a text.
    checked = check_fields(values, {**declared, "fsdp": declared["fsdp"] | bool}, where)
    check_fields(checked.get("weights", {}), dict.fromkeys(LOSS_TERMS, float), f"{where}.weights")
    _check_lengths(checked, where)
    return checked


def _check_score(values: Any, where: str) -> dict[str, Any]:
    checked = check_fields(values, SCORE, where)
    for name in ("limit", "batch_size"):
        if checked.get(name, 1) < 1:
            raise ValueError(f"{where}.{name} must be at least 1, got {checked[name]!r}")
    return checked


def _check_data(values: Any, where: str) -> dict[str, Any]:
    checked = check_fields(values, declared_fields(DataArguments), where)
    if "options" in checked:
        # Which data set they are for may stand in another file; `check_stage` knows.
        either = option_fields(None)
        checked["options"] = check_fields(checked["options"], either, f"{where}.options")
    if "parts" in checked:
        checked["parts"] = [_check_data_part(part, f"{where}.parts[{i}]") for i, part in enumerate(checked["parts"])]
        if {"share", "repeats"} <= {key for part in checked["parts"] for key in part}:
            raise ValueError(f"{where}.parts: say share or repeats, the same of all parts")
    if not checked.get("temperature", 1.0) > 0:
        raise ValueError(f"{where}.temperature must be a positive number, got {checked['temperature']!r}")
    if checked.get("validation"):
        for key in ("share", "repeats"):
            if key in checked["validation"]:
                raise unknown_key(key, ("dataset", "options"), f"{where}.validation")
        checked["validation"] = _check_data_part(checked["validation"], f"{where}.validation")
    return checked


def _check_data_part(values: Any, where: str) -> dict[str, Any]:
    part = check_fields(values, PART, where)
    if not part.get("dataset"):
        raise ValueError(f"{where} needs a dataset: refshapes, a path, hub:owner/name, or the name of a published set")
    for name in ("share", "repeats"):
        value = part.get(name, 1.0)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{where}.{name} must be a positive number, got {value!r}")
    if "options" in part:
        part["options"] = check_options(part["dataset"], part["options"], f"{where}.options")
    return part


def check_options(dataset: str, options: Any, where: str) -> dict[str, Any]:
    """Options of a named data set."""
    return check_fields(options, option_fields(dataset), where)


def check_stage(config: dict[str, Any], where: str) -> dict[str, Any]:
    """A stage's whole configuration, checked: what holds for it alone is in it, recipe and packaged file merged."""
    checked = _check_part(config, (*SECTIONS, *SCALARS), where)
    data = checked.get("data", {})
    if not data.get("parts") and "options" in data:
        dataset = data.get("dataset", "refshapes")
        data["options"] = check_options(dataset, data["options"], f"{where}: data.options of {dataset}")
    return checked


def resolve_stages(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages of a recipe, or the only one, each with all its settings, its start and its folder.

    Raises:
        ValueError: two stages share a folder, one starts from a stage that does not come before it, or any key at any
            depth is unknown.
    """
    output_dir = Path(config.get("output_dir", "runs/desa2va"))
    common = {key: value for key, value in config.items() if key not in ("stages", "output_dir")}
    if "stages" not in config:
        return [check_stage({**common, "output_dir": str(output_dir)}, config.get("name", "configuration"))]
    resolved: dict[str, dict[str, Any]] = {}
    folder = config.get("init_from")
    for number, stage in enumerate(config["stages"]):
        if "config" in stage:
            stage = merge_configs(read_config(stage["config"]), stage)
        stage = merge_configs(common, stage)
        stage.pop("config", None)
        start, name = stage.pop("start_from", None), stage.get("name", f"stage{number}")
        if name in resolved:
            raise ValueError(f"stages[{number}]: two stages are called {name!r}; give one another name")
        if start and start not in resolved and not (output_dir / start).is_dir():
            raise ValueError(f"stages[{number}].start_from: no stage before it is called {start!r}")
        stage |= {"init_from": str(output_dir / start) if start else folder, "output_dir": str(output_dir / name)}
        if start or number:  # begins with a stage's model, not with published weights
            stage = {key: value for key, value in stage.items() if key not in PUBLISHED}
        resolved[name] = check_stage(stage, f"stage {name}")
        folder = stage["output_dir"]
    return list(resolved.values())


__all__ = [
    "CONFIG_FOLDER",
    "SECTIONS",
    "apply_overrides",
    "check_config",
    "check_options",
    "check_stage",
    "merge_configs",
    "read_config",
    "read_yaml",
    "resolve_stages",
]
