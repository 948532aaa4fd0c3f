"""What a run keeps of its scores."""

import json

import numpy as np

from desa2va.eval.ablations import scoring


def test_counts_come_back_and_are_small():
    """Pixels of eight sets would be 90 kB of digits in every run's file."""
    generator = np.random.default_rng(0)
    unions = generator.integers(100, 4000, 1000)
    counts = np.stack([(unions * generator.uniform(0.2, 1, 1000)).astype(int), unions])
    text = scoring.pack(counts)
    assert (scoring.unpack(text) == counts).all()
    assert len(json.dumps(text)) < 6000


def test_numbers_are_cut_to_five_digits_and_the_rest_stays():
    report = {"a": [0.123456789, 12, None], "b": {"c": 1234567.0, "d": True}}
    assert scoring.rounded(report) == {"a": [0.12346, 12, None], "b": {"c": 1234600.0, "d": True}}


def test_the_main_set_has_all_scenes_and_the_others_half(monkeypatch):
    asked = {}

    def answer(model, processor, **arguments):
        asked.update(arguments)
        part = {"ciou": 0.5, "giou": 0.4, "intersections": [1], "unions": [2]}
        return {name: {"fused": part, "text": {**part, "ciou": 0.3}} for name in arguments["scenes"]}

    monkeypatch.setattr(scoring, "score_decoupling", answer)
    asks = {"scores": "decoupling", "scenes": 10, "probe": 0, "held_out": ["small red circle"], "unasked": ["cyan"]}
    report = scoring.score(None, None, asks)
    assert asked["scenes"] == {name: 10 if name == "in_distribution" else 5 for name in scoring.SETS}
    assert asked["held_out"] == ["small red circle"]
    assert report["sets"]["dark"]["text"] == 0.3
    assert scoring.unpack(report["sets"]["dark"]["counts"]).tolist() == [[1], [2]]
    scoring.score(None, None, {**asks, "sets": ["in_distribution"], "split": "validation"})
    assert asked["scenes"] == {"in_distribution": 10}
    assert asked["split"] == "validation"
