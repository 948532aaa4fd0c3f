"""The published tables are the measured ones: figures typed by hand drift from what was run."""

import json
from pathlib import Path

import pytest

from desa2va.eval.ablations.plan import read_plan
from desa2va.eval.ablations.table import markdown

DOCS = Path(__file__).resolve().parents[2] / "docs"
SUMMARIES = sorted((DOCS / "ablations").glob("*.json"))


@pytest.mark.parametrize("path", SUMMARIES, ids=lambda path: path.stem)
def test_a_table_of_the_page_is_what_its_runs_say(path):
    summary = json.loads(path.read_text())
    page = (DOCS / "ablations.md").read_text()
    assert markdown(summary) in page
    assert path.with_suffix(".png").is_file()
    assert f"ablations/{path.stem}.png" in page


@pytest.mark.parametrize("path", SUMMARIES, ids=lambda path: path.stem)
def test_a_published_table_has_the_arms_of_its_plan(path):
    """A plan that changed after it was run would re-create another table."""
    summary, plan = json.loads(path.read_text()), read_plan(path.stem)
    assert [row["name"] for row in summary["rows"]] == list(plan.arms)
    assert summary["scenes"] == plan.scenes


def test_every_packaged_plan_has_its_table():
    from desa2va.eval.ablations.plan import packaged_plans

    assert {path.stem for path in SUMMARIES} == set(packaged_plans())
