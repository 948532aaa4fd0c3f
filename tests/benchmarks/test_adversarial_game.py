"""The adversarial game on stored states, with made-up ones: what its columns mean."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.adversarial_game import content_kept, play  # noqa: E402

WIDTH = 8


def test_content_is_kept_by_any_invertible_map_and_lost_with_dimensions():
    """A shift is no loss; of eight independent dimensions, four that are cut away are half of what there was."""
    torch.manual_seed(0)
    start = torch.randn(2000, WIDTH)
    assert content_kept(3.0 * start @ torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0] + 7.0, start) > 0.999
    assert content_kept(start[:, :4], start) == pytest.approx(0.5, abs=0.05)


def test_weight_zero_moves_nothing_and_the_game_does():
    torch.manual_seed(0)
    projections = nn.ModuleDict({key: nn.Linear(2 * WIDTH, WIDTH) for key in ("text", "visual")})
    rows = {"objects": torch.randn(64, 2 * WIDTH), "images": 2 + torch.randn(64, 2 * WIDTH)}
    rows["labels"] = torch.randn(64, WIDTH) - 2
    still, moved = (play(projections, rows, "crossed", "non_saturating", weight, steps=60) for weight in (0.0, 5.0))
    assert still["moved_text"] < 0.01 * moved["moved_text"]
    assert still["kept_text"] > 0.999
    assert moved["moved_text"] > 0.01
    assert moved["gradient_text"] > 0
