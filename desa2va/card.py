"""The model card: one Markdown page rendered from what a model folder holds.

What enters: a saved model folder with `config.json`, weights and, where they exist, `training_summary.json` (written
by training), `evaluation.json` (written by `desa2va eval`) and pictures of the curves. What leaves: its `README.md`.
Nothing on the card is typed by hand: a figure that was not measured is said to be missing. (Engineering; no paper
section.)
"""

from __future__ import annotations

import json
import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import metadata_load
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from safetensors import safe_open

from desa2va.processing.files import write_file

from . import __version__

MARK = "<!-- written by desa2va.card; this line lets the next save refresh the page -->"
SUMMARY_FILE = "training_summary.json"
EVALUATION_FILE = "evaluation.json"
SIDE_FILES = (SUMMARY_FILE, EVALUATION_FILE, "*.png")
_MASKS, _ANSWERS = "image-segmentation", "visual-question-answering"
# What the model index tells of a report: the name to show, and the Hub's task.
METRICS = {
    "ciou": ("cIoU", _MASKS),
    "giou": ("gIoU", _MASKS),
    "jf": ("J&F", _MASKS),
    "j": ("J", _MASKS),
    "f": ("F", _MASKS),
    "ap50": ("AP50", _MASKS),
    "miou": ("mIoU", _MASKS),
    "accuracy": ("accuracy", _ANSWERS),
    "perception": ("perception", _ANSWERS),
    "cognition": ("cognition", _ANSWERS),
    "meteor": ("METEOR", "image-to-text"),
    "cider": ("CIDEr", "image-to-text"),
}
_TEMPLATES = Path(__file__).resolve().parent / "templates"
_LIBRARIES = ("torch", "transformers", "accelerate", "peft", "safetensors", "tokenizers")
_SHOWN_APART = ("name", "license", "configuration", "manifest", "figures", "phases", "curves", "base_models")
_SHOWN_APART += ("limitations", "versions")


def _read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`, or an empty dict when there is no such file."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, found a {type(content).__name__}")
    return content


def read_summary(folder: Path) -> dict[str, Any]:
    """What the training of a saved model says of itself; nothing where it says nothing."""
    return _read_json(folder / SUMMARY_FILE)


def _show(value: Any) -> str:
    """Return `value` for a table cell."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_show(item) for item in value) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_show(item)}" for key, item in value.items()) or "–"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table; the columns are the union of the rows' keys in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if not columns:
        return ""
    lines = ["| " + " | ".join(column.replace("_", " ") for column in columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(_show(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def named_reports(evaluation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return title -> report: `evaluation.json` holds one report, or several under their names."""
    if not evaluation:
        return {}
    if "ciou" in evaluation or "by_kind" in evaluation:
        title = " ".join(str(evaluation[key]) for key in ("level", "split") if key in evaluation)
        return {title or "held-out": evaluation}
    return {name: report for name, report in evaluation.items() if isinstance(report, dict)}


def _report_tables(report: dict[str, Any]) -> list[str]:
    """Return the Markdown tables of one report: the overall figures, then one table per group of figures."""
    tables = []
    scalars = {key: value for key, value in report.items() if not isinstance(value, (dict, list))}
    if scalars:
        tables.append(_table([{"figure": key.replace("_", " "), "value": value} for key, value in scalars.items()]))
    for key, value in report.items():
        if not isinstance(value, dict) or not value:
            continue
        nested = all(isinstance(item, dict) for item in value.values())
        name = key.removeprefix("by_").replace("_", " ")
        rows = [{name: item, **(figures if nested else {"value": figures})} for item, figures in value.items()]
        tables.append(_table(rows))
    return tables


def _weights(folder: Path) -> dict[str, Any]:
    """Return the number of parameters, their types and the size in megabytes of the safetensors files in `folder`."""
    count, types, size = 0, set(), 0
    for path in sorted(folder.glob("*.safetensors")):
        size += path.stat().st_size
        with safe_open(str(path), framework="np") as file:
            for key in file.keys():  # noqa: SIM118  (not a dict)
                view = file.get_slice(key)
                types.add(view.get_dtype())
                shape = view.get_shape()
                count += 1 if not shape else _product(shape)
    return {"parameters": count, "types": sorted(types), "megabytes": size / 1e6}


def _product(shape: list[int]) -> int:
    result = 1
    for length in shape:
        result *= length
    return result


def _versions() -> dict[str, str]:
    """Return the versions of Python, this package and the libraries it stands on."""
    found = {"python": platform.python_version(), "desa2va": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def index_results(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results of a model index, one per report of `evaluation.json` that has a figure of `METRICS`."""
    results = []
    for title, report in named_reports(evaluation).items():
        scores = {key: report[key] for key in METRICS if isinstance(report.get(key), int | float)}
        if scores:
            slug = re.sub(r"\W+", "-", title.lower().replace("+", "plus"))  # RefCOCO+ is not RefCOCO
            data = {"type": "refshapes" if "level" in report else slug, "name": title}
            metrics = [
                {"type": key, "name": METRICS[key][0], "value": round(value, 4)} for key, value in scores.items()
            ]
            task = METRICS[next(iter(scores))][1]
            results.append({"task": {"type": task}, "dataset": data, "metrics": metrics})
    return results


def _index(name: str, summary: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """Return what the Hub finds a model by, as YAML: language, data sets, and the scores as its model index."""
    results = index_results(evaluation)
    facts: dict[str, Any] = {"language": ["en"]}
    if summary.get("data"):
        facts["datasets"] = list(summary["data"])
    if results:
        facts["model-index"] = [{"name": name, "results": results}]
    return yaml.safe_dump(facts, sort_keys=False).strip()


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["show"] = _show
    return environment


def render(folder: str | os.PathLike, name: str | None = None) -> str:
    """Return the model card of a saved model folder as Markdown.

    Args:
        folder: Holds at least `config.json`.
        name: Title; the folder's name when omitted.

    Raises:
        FileNotFoundError: If there is no `config.json`.
        ValueError: If a JSON file holds no object.
    """
    folder = Path(folder)
    config = _read_json(folder / "config.json")
    if not config:
        raise FileNotFoundError(f"{folder / 'config.json'} does not exist; a card describes a saved model")
    summary = _read_json(folder / SUMMARY_FILE)
    title = name or summary.get("name") or folder.resolve().name
    # Trained from nothing and released with a summary; of other weights nobody here knows what they were made from.
    ours = bool(summary) and not summary.get("base_models")
    evaluation = _read_json(folder / EVALUATION_FILE)
    pictures = [path.name for path in sorted(folder.glob("*.png"))]
    return (
        _environment()
        .get_template("model_card.md.jinja")
        .render(
            mark=MARK,
            name=title,
            index=_index(title, summary, evaluation),
            config=config,
            weights=_weights(folder),
            base_models=summary.get("base_models", []),
            license=summary.get("license", "apache-2.0" if ours else "other"),
            limitations=summary.get("limitations", []),
            recipe={key: value for key, value in summary.items() if key not in _SHOWN_APART},
            phases=_table(_phase_rows(summary.get("phases", []))),
            manifest=_table(summary.get("manifest", [])),
            figures=_table([{"figure": key, "value": value} for key, value in summary.get("figures", {}).items()]),
            configuration=summary.get("configuration", {}),
            pictures=pictures,
            reports={heading: _report_tables(report) for heading, report in named_reports(evaluation).items()},
            versions=summary.get("versions") or _versions(),
        )
    )


def _phase_rows(phases: list[dict[str, Any]] | dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the training phases as rows, from a list of rows or a dict name -> row."""
    if isinstance(phases, dict):
        return [{"phase": name, **row} for name, row in phases.items()]
    return list(phases)


def write_card(folder: str | os.PathLike, name: str | None = None) -> Path | None:
    """Write `README.md` into a saved model folder; a page that somebody wrote by hand is left alone.

    Args:
        folder: See `render`.
        name: See `render`.

    Returns:
        The written file, or `None` when a hand-written page stays.
    """
    path = Path(folder) / "README.md"
    if path.is_file() and MARK not in path.read_text(encoding="utf-8"):
        return None
    text = render(folder, name)
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), overwrite=True)
    return path


def read_metadata(folder: str | os.PathLike) -> dict[str, Any]:
    """What the card in `folder` states to the Hub; nothing where there is no card, or none that can be read."""
    try:
        return metadata_load(Path(folder) / "README.md") or {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}


def write_adapter_card(folder: Path, base_model: str, stated: dict[str, Any]) -> None:
    """Write `README.md` of an adapter's folder.

    Args:
        folder: holds peft's two files.
        base_model: a Hub id, a shipped model's name or a folder, of which the last part is shown.
        stated: by the card of the base model, see `read_metadata`. Licence and, of a folder, base models are taken
            from it; what it does not state is left out.
    """
    is_folder = Path(base_model).is_dir()
    on_hub = not is_folder and "/" in base_model
    bases = [base_model] if on_hub else stated.get("base_model") or []
    facts = {name: stated[name] for name in ("license", "license_name", "license_link") if stated.get(name)}
    text = (
        _environment()
        .get_template("adapter_card.md.jinja")
        .render(
            mark=MARK,
            name=folder.resolve().name,
            base=Path(base_model).name if is_folder else base_model,
            facts=yaml.safe_dump(facts, sort_keys=False).strip() if facts else "",
            license=facts.get("license_name") or facts.get("license"),
            bases=[bases] if isinstance(bases, str) else bases,
            on_hub=on_hub,
            weights=_weights(folder),
            versions=_versions(),
        )
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


__all__ = [
    "EVALUATION_FILE",
    "METRICS",
    "SIDE_FILES",
    "SUMMARY_FILE",
    "index_results",
    "named_reports",
    "read_metadata",
    "read_summary",
    "render",
    "write_adapter_card",
    "write_card",
]
