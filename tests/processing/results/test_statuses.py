"""Numbers behind a status."""

import math

import pytest
import torch

from desa2va.processing.results.statuses import presence_logit, presence_probabilities


def test_a_presence_probability_is_the_sigmoid_wherever_the_number_stands():
    """With AVX2, a tensor's sigmoid of many numbers differs in the last digit from that of one."""
    logits = torch.randn(9, generator=torch.Generator().manual_seed(0)).mul(4).tolist()
    together = presence_probabilities(logits)
    assert together == [presence_probabilities([logit])[0] for logit in logits]
    assert together == pytest.approx(torch.tensor(logits, dtype=torch.float64).sigmoid().tolist(), rel=1e-14)
    assert [presence_logit(score) for score in together] == pytest.approx(logits, rel=1e-9)


def test_no_logit_is_too_large():
    """An exponential of a thousand overflows; float16 models can give infinity."""
    assert presence_probabilities([-1e4, -math.inf, 0.0, 1e4, math.inf]) == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert presence_probabilities([-100.0]) == pytest.approx([math.exp(-100)], rel=1e-12)
