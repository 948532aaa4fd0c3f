"""Captions, against values of pycocoevalcap on a small set."""

import json
import os
import shutil
from pathlib import Path

import pytest

from desa2va.eval.metrics.captions import CaptionQuality, without_region_words

REAL = Path(os.environ.get("DESA2VA_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "real_data"


@pytest.fixture
def scorers():
    """Java and pycocoevalcap."""
    if shutil.which("java") is None:
        pytest.skip("METEOR and the tokeniser need Java")
    pytest.importorskip("pycocoevalcap", reason="captions are scored with pycocoevalcap")


@pytest.mark.skipif(not (REAL / "oracle_captions.json").is_file(), reason="the caption oracle is not here")
def test_values_of_pycocoevalcap(scorers):
    """Corpus and items to the oracle's six decimals, whatever the order in which items come."""
    oracle = json.loads((REAL / "oracle_captions.json").read_text())
    quality = CaptionQuality()
    for item in reversed(oracle["items"]):
        quality.add(item["image_id"], item["prediction"], item["references"])
    corpus, items = quality.compute_with_items()
    assert corpus == pytest.approx(
        {"n": 4, **{key.lower(): value for key, value in oracle["corpus"].items()}}, abs=1e-6
    )
    for name, values in oracle["per_item"].items():
        assert [items[i][name.lower()] for i in range(4)] == pytest.approx(values, abs=1e-6)


def test_empty_and_broken_captions_keep_their_place(scorers):
    """The tokeniser works by lines: an empty caption at the end or one of two lines would shift or drop the others."""
    quality = CaptionQuality()
    for number, text in enumerate(["a cat", "", "two\nlines\u2028here", "..."]):
        quality.add(number, text, ["a cat", "a grey cat"] if number == 0 else "two lines here")
    _, items = quality.compute_with_items()
    assert [items[i]["meteor"] for i in range(4)] == [1, 0, 1, 0]


def test_bad_input(monkeypatch):
    quality = CaptionQuality()
    with pytest.raises(ValueError, match="'a' has no reference"):
        quality.add("a", "text", [])
    quality.add("a", "text", "text")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "which", lambda name: None)
        with pytest.raises(RuntimeError, match="Java runtime"):
            quality.compute()
    quality.add("a", "text", "text")
    with pytest.raises(ValueError, match="'a' was added more than once"):
        quality.compute()


def test_region_words_go_even_inside_words():
    """Sa2VA's cleaning, whose damage ("this", "isle") is part of its figures."""
    answer = "<s>The region marked by <region1> shows: this isle, 'a <p> boat </p>' [SEG]\n"
    assert without_region_words(answer) == "th le, 'a boat"
