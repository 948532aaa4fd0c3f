"""A report as a few lines of text.

What `desa2va.eval.probe.probe.run` returns enters, a table leaves. (Engineering; no paper section.)
"""

from __future__ import annotations

from typing import Any

from .measures import PROBED, pair_name

_NAME, _CELL = 26, 15


def summarise(report: dict[str, Any]) -> str:
    """The main figures of one checkpoint, or of two and their differences."""
    counts = report["model"]["objects"]
    lines = [
        f"RefShapes {report['level']}, {report['split']} split, seed {report['seed']}: {counts['scenes']} scenes, "
        f"{counts['rows']} requests for {counts['distinct']} objects; half of the scenes to fit, half held out"
    ]
    for part in ("model", "against"):
        if part in report:
            lines += ["", f"{part}: {report[part]['provenance']['model']}", *_figures(report[part], "")]
            lines += [f"note: {note}" for note in report[part]["notes"]]
    if report.get("difference"):
        lines += ["", "difference: model minus against", *_figures(report["difference"], "+")]
    return "\n".join(lines)


def _figures(part: dict[str, Any], sign: str) -> list[str]:
    lines = [*_probe_lines(part, sign), *_explained_lines(part.get("explained") or {}, sign)]
    lines += _information_lines(part.get("information") or {}, sign)
    pairs = part.get("separability") or {}
    lines += [f"{'discriminator, ' + name:{_NAME}} {_shown(cell, 'accuracy', sign)}" for name, cell in pairs.items()]
    similarity = part.get("similarity") or {}
    prompts = (similarity.get("cosine") or {}).get(pair_name("h_t", "h_v"))
    if prompts:
        lines.append(
            f"{'cosine, h_t / h_v':{_NAME}} {prompts['mean']:{sign}.3f} (deviation {prompts['deviation']:{sign}.3f}); "
            f"centred {prompts['centred_mean']:{sign}.3f} ({prompts['centred_deviation']:{sign}.3f})"
        )
    lines += [f"{'CKA, ' + name:{_NAME}} {value:{sign}.3f}" for name, value in (similarity.get("cka") or {}).items()]
    return lines


def _probe_lines(part: dict[str, Any], sign: str) -> list[str]:
    """The table of probes: a line per factor, a column per representation."""
    probes = part.get("probes") or {}
    kinds = [kind for kind in PROBED if any(kind in row for group in probes.values() for row in group.values())]
    lines = []
    for group, key, title in (
        ("textual", "balanced_accuracy", "balanced accuracy"),
        ("visual", "r2", "R²"),
        ("nuisance", "r2", ""),
    ):
        if title:
            lines.append(f"{title:{_NAME}}" + "".join(f"{kind:>{_CELL}}" for kind in kinds))
        for name, row in (probes.get(group) or {}).items():
            cells = "".join(f"{_shown(row.get(kind), key, sign):>{_CELL}}" for kind in kinds)
            constant = next((cell["constant"] for cell in row.values() if cell and "constant" in cell), None)
            lines.append(f"  {name:{_NAME - 2}}{cells}" + ("" if constant is None else f"   constant {constant:.3f}"))
    chosen = part.get("selectivity") or {}
    shown = [f"{name} {value:{sign}.3f}" for name, value in chosen.items() if value is not None]
    return [*lines, f"{'selectivity':{_NAME}} {', '.join(shown)}"] if shown else lines


def _explained_lines(explained: dict[str, Any], sign: str) -> list[str]:
    """Share of each representation's variance that words and place predict."""
    kinds = [kind for kind in PROBED if kind in explained]
    if not kinds:
        return []
    lines = [f"{'variance explained by':{_NAME}}" + "".join(f"{kind:>{_CELL}}" for kind in kinds)]
    for name in ("words", "place", "both"):
        cells = "".join(f"{_shown(explained[kind].get(name), 'r2', sign):>{_CELL}}" for kind in kinds)
        lines.append(f"  {name:{_NAME - 2}}{cells}")
    return lines


def _information_lines(information: dict[str, Any], sign: str) -> list[str]:
    lines = []
    for count, cell in (information.get("components") or {}).items():
        line = f"{f'I(h_t; h_v), d = {count}':{_NAME}} {_shown(cell, 'nats', sign)} nats"
        if "shuffled" in cell:
            line += f"; shuffled pairs {cell['shuffled']:.3f} ± {cell['shuffled_deviation']:.3f}, p {cell['p']:.3f}"
        lines.append(line)
    for name, cell in (information.get("predicted") or {}).items():
        if cell:
            lines.append(f"{name:{_NAME}} R² {_shown(cell, 'r2', sign)}")
    return lines


def _shown(cell: dict[str, Any] | None, key: str, sign: str) -> str:
    """A figure with its standard error, where there are any."""
    if not cell or cell.get(key) is None:
        return "-"
    error = cell.get("se")
    return f"{cell[key]:{sign}.3f}" + ("" if error is None else f" ± {error:.3f}")


__all__ = ["summarise"]
