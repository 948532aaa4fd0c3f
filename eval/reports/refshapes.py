"""The report of `desa2va eval refshapes` in the form of a benchmark's, so that one page shows both.

Enters: what that command writes with `--json`. Leaves: the same figures by group, without samples, which it does not
keep; `desa2va eval refshapes-<level>-<split>` does. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from desa2va.eval.benchmarks.names import BENCHMARKS

_OWN = ("level", "split", "seed", "by_kind", "provenance")
PROTOCOL = "text generated, greedily; one expression a scene, exact shares of kinds; masks are united"
WORDING = "one of RefShapes' wordings, drawn with the expression"


def is_refshapes(content: Any) -> bool:
    """Whether a report is one of `desa2va eval refshapes`."""
    return isinstance(content, dict) and "benchmark" not in content and all(name in content for name in _OWN)


def as_benchmark(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The same report as a benchmark writes it.

    Args:
        content: of a report. where: begins errors.

    Raises:
        ValueError: a split that is no benchmark (`train`), or parts of other kinds.
    """
    name = f"refshapes-{content['level']}-{content['split']}"
    if name not in BENCHMARKS:
        raise ValueError(f"{where}: {name} is no benchmark; reports are of test and validation")
    if not all(isinstance(content.get(part), dict) for part in ("by_kind", "provenance", "statuses")):
        raise ValueError(f"{where}: 'by_kind', 'provenance' and 'statuses' must be objects; the report is damaged")
    provenance = dict(content["provenance"])
    model = {key: provenance.pop(key) for key in ("weights_sha256", "prompt_mode", "dtype") if key in provenance}
    machine = {"model": provenance.pop("model", None)}
    return {
        "benchmark": name,
        "protocol": PROTOCOL,
        "prompt": WORDING,
        "n": content.get("n"),
        "figures": _figures(content),
        "statuses": content["statuses"],
        "failed": [],
        "samples": [],
        "provenance": {"model": model, "machine": machine, "seed": content["seed"], **provenance},
    }


def _figures(content: Mapping[str, Any]) -> dict[str, Any]:
    """Groups of plain figures; a part of parts (`qa`, `video`, `tasks`) gives one for each, named by both."""
    plain = {name: value for name, value in content.items() if isinstance(value, int | float)}
    found = {"overall": {name: value for name, value in plain.items() if name != "seed"}, **content["by_kind"]}
    for name, part in content.items():
        if name not in ("by_kind", "provenance", "statuses") and isinstance(part, Mapping):
            _add(found, name.replace("_", " "), part)
    return found


def _add(found: dict[str, Any], name: str, part: Mapping[str, Any]) -> None:
    own = {key: value for key, value in part.items() if not isinstance(value, Mapping)}
    if own:
        found[name] = own
    for key, value in part.items():
        if isinstance(value, Mapping):
            _add(found, f"{name} {key}", value)


__all__ = ["as_benchmark", "is_refshapes"]
