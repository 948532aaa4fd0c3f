"""All benchmarks in one table: this project's models and the strongest published ones.

Enters: published figures. Leaves: Markdown, as `docs/evaluation.md` has it. (Paper tables 1 and 2.)
"""

from __future__ import annotations

from .markdown import table
from .published import Published, load_published

COLUMNS = {
    "RefCOCO val": ("refcoco-unc-val", "ciou"),
    "RefCOCO+ val": ("refcoco+-unc-val", "ciou"),
    "RefCOCOg val": ("refcocog-umd-val", "ciou"),
    "gRefCOCO val": ("grefcoco-unc-val", "giou"),
    "ReasonSeg val": ("reasonseg-val", "overall.giou"),
    "GCG val": ("gcg-val", "ap50"),
    "MeViS val_u": ("mevis-valid_u", "jf"),
    "MeViS val": ("mevis-valid", "jf"),
    "Ref-YT-VOS": ("ref_youtube_vos-valid", "jf"),
    "Ref-DAVIS17": ("ref_davis17-valid", "expression.jf"),
    "ReVOS": ("revos-valid", "overall.jf"),
    "Ref-SAV": ("ref_sav-valid", "overall.jf"),
}
FAMILIES = ("DeSa2VA", "Sa2VA", "X-SAM", "X2SAM", "VideoSEG-O3", "UniPixel", "LENS", "SAM 3 agent")


def overview_table() -> str:
    """A row per model and source, a column per benchmark; ours first, empty."""
    places = {key: place for place, key in enumerate(COLUMNS.values())}
    rows: dict[tuple[str, str], list[float | None]] = {}
    for figure in _shown():
        place = places.get((figure.benchmark, figure.metric))
        if place is not None:
            source = figure.source.split(",")[0]
            rows.setdefault((figure.who, source), [None] * len(COLUMNS))[place] = figure.value
    cells = [
        [who, *("" if value is None else f"{value:.1f}" for value in values), source]
        for (who, source), values in rows.items()
    ]
    ours = ["this project", *[""] * len(COLUMNS), "not measured"]
    return table(["model", *COLUMNS, "source"], [ours, *cells])


def _shown() -> list[Published]:
    """Whole models of the families, no ablations; `Sa2VA-8B (ft)` is another model than `Sa2VA-8B`."""
    return [figure for figure in load_published() if not figure.variant and figure.model.startswith(FAMILIES)]


__all__ = ["COLUMNS", "FAMILIES", "overview_table"]
