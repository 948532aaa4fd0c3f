"""The picture of a probe: where the prompts lie, what orders them, and how the discriminators fared.

Features and figures enter, an image file leaves. Every panel but the last shows two principal components; dots are
painted in the colour of their object, or by where it stands. (Paper section 3.2; the paper's own figure is a sketch.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from desa2va.processing.files import write_file
from desa2va.training.data.refshapes import COLORS

from .features import TEXTUAL_FACTORS, Features
from .information import principal_components
from .training_log import DISCRIMINATORS

NAMES = {"h_t": "textual prompt $h_t$", "h_v": "visual prompt $h_v$", "h_l": "label prompt $h_l$"}
HUES = {"h_t": "#d1495b", "h_v": "#2274a5", "h_l": "#e9a23b"}
GREY = "#ececec"
CURVE_NAMES = {"accuracy_visual": "$D_v$: V against $h_t$", "accuracy_text": "$D_t$: $h_l$ against $h_v$"}


def draw(path: str | Path, features: Features, figures: dict[str, Any], title: str = "") -> None:
    """Writes the picture.

    Args:
        path: its suffix says the kind (.png, .pdf, .svg). features: of one checkpoint. figures: its report.
        title: shown above, e.g. the model's name.

    Raises:
        ImportError: matplotlib is missing; the message says how to get it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("the figure needs matplotlib: pip install 'desa2va[eval]'") from error
    kinds = [kind for kind in NAMES if kind in features.states]
    columns = 1 + len(kinds)
    canvas = Figure(figsize=(3.3 * columns, 6.9), layout="constrained")
    axes = canvas.subplots(2, columns)
    _modalities(axes[0, 0], features, kinds)
    _discriminators(axes[1, 0], figures)
    palette = [tuple(value / 255 for value in COLORS[name]) for name in TEXTUAL_FACTORS["color"]]
    painted = [palette[index] for index in features.classes["color"].tolist()]
    for column, kind in enumerate(kinds, start=1):
        points, share = principal_components(features.states[kind], 2)
        _scatter(axes[0, column], points, painted, f"{NAMES[kind]}\nby colour of the object")
        dots = _scatter(
            axes[1, column], points, features.values["center_x"], f"{NAMES[kind]}\nby place, left to right"
        )
        for row in (0, 1):
            axes[row, column].set_xlabel(f"two components, {share:.0%} of the variance", fontsize=8)
    bar = canvas.colorbar(dots, ax=axes[1, -1], ticks=[0.0, 1.0])
    bar.ax.set_yticklabels(["left", "right"], fontsize=8)
    if title:
        canvas.suptitle(title, fontsize=11)
    write_file(path, lambda temporary: canvas.savefig(temporary, dpi=150), overwrite=True)


def _scatter(axis: Any, points: torch.Tensor, colors: Any, title: str) -> Any:
    """(n, 2) dots; a grey ground keeps white and yellow ones visible. Dots of one colour do not cover the others."""
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    hues = [colors[row] for row in order.tolist()] if isinstance(colors, list) else colors[order].numpy()
    if points.shape[1] < 2:
        points = torch.cat([points, points.new_zeros(len(points), 2 - points.shape[1])], dim=1)
    points = points[order]
    axis.set_facecolor(GREY)
    scale = {} if isinstance(colors, list) else {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0}
    dots = axis.scatter(points[:, 0], points[:, 1], c=hues, s=9, linewidths=0.25, edgecolors="0.35", **scale)
    _plain(axis, title)
    return dots


def _modalities(axis: Any, features: Features, kinds: list[str]) -> None:
    """All kinds of prompts in one plane of components."""
    count = len(features)
    points, share = principal_components(torch.cat([features.states[kind] for kind in kinds]), 2)
    for number, kind in enumerate(kinds):
        part = points[number * count : (number + 1) * count]
        axis.scatter(part[:, 0], part[:, 1], c=HUES[kind], s=7, linewidths=0, alpha=0.6, label=f"${kind}$")
    axis.set_facecolor(GREY)
    axis.legend(fontsize=8, markerscale=2, loc="best", framealpha=0.8)
    axis.set_xlabel(f"two components, {share:.0%} of the variance", fontsize=8)
    _plain(axis, "all prompts\nin one plane")


def _discriminators(axis: Any, figures: dict[str, Any]) -> None:
    """Accuracy over training where it was logged, else of the fresh discriminators."""
    axis.tick_params(labelsize=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    curves = figures["training"]["curves"]
    curves = {name: curves[name] for name in DISCRIMINATORS if name in curves}
    if curves:
        _curves(axis, curves)
        return
    pairs = figures["separability"]
    axis.set_title("fresh discriminators,\nheld out", fontsize=9)
    axis.axvline(0.5, color="0.5", linewidth=1, linestyle=":")
    places = range(len(pairs))
    accuracy, error = ([cell[name] for cell in pairs.values()] for name in ("accuracy", "se"))
    axis.errorbar(accuracy, places, xerr=error, fmt="o", color="#444444", markersize=7, capsize=3)
    axis.hlines(places, 0.5, accuracy, color="#444444", linewidth=1)
    axis.set_yticks(places, [_as_math(name) for name in pairs], fontsize=8)
    axis.set_ylim(max(len(pairs), 2) - 0.5, -0.5)
    axis.set_xlim(0.4, 1.05)
    axis.set_xlabel("accuracy (0.5: indistinguishable)", fontsize=8)


def _curves(axis: Any, curves: dict[str, dict[str, list[float]]]) -> None:
    """Accuracy of the discriminators of training, step by step."""
    axis.set_title("discriminators\nduring training", fontsize=9)
    axis.axhline(0.5, color="0.5", linewidth=1, linestyle=":")
    for name, curve in curves.items():
        hue, dashes = (HUES["h_t"], "-") if name == "accuracy_visual" else (HUES["h_v"], "--")
        axis.plot(curve["step"], curve["value"], dashes, color=hue, linewidth=1.5, label=CURVE_NAMES[name])
    axis.set_ylim(0.4, 1.03)
    axis.set_xlabel("training step", fontsize=8)
    axis.set_ylabel("accuracy (0.5: indistinguishable)", fontsize=8)
    axis.legend(fontsize=8, frameon=False, loc="center right")


def _as_math(pair: str) -> str:
    return " / ".join(f"${name}$" for name in pair.split(" / "))


def _plain(axis: Any, title: str) -> None:
    """No ticks: the axes are directions without a unit."""
    axis.set_title(title, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])


__all__ = ["draw"]
