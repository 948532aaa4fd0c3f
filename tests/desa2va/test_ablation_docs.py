"""The published tables are the measured ones: figures typed by hand drift from what was run."""

import statistics
from pathlib import Path

import pytest

from desa2va.eval.ablations.plan import packaged_plans, read_plan
from desa2va.eval.ablations.schedule import Grid
from desa2va.eval.ablations.table import markdown, summarise

DOCS = Path(__file__).resolve().parents[2] / "docs"
METHOD_VERSION = 1  # of the terms in the runs behind the page, which says so
PUBLISHED = sorted(path.stem for path in (DOCS / "ablations").glob("*.png"))


def published(name):
    """The grid of a plan with the runs that lie beside the page."""
    return Grid(read_plan(name), DOCS / "ablations", Path("unused"), method_version=METHOD_VERSION)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_table_of_the_page_is_what_its_runs_say(name):
    """Also fails where a plan changed after it was run: its runs are then no longer found."""
    page = (DOCS / "ablations.md").read_text()
    assert markdown(summarise(published(name))) in page
    assert f"ablations/{name}.png" in page


@pytest.mark.parametrize("name", PUBLISHED)
def test_runs_of_earlier_terms_are_not_taken_for_finished(name):
    """They were: an estimator was mended, and `desa2va ablate` printed the old table as the new result."""
    grid = Grid(read_plan(name), DOCS / "ablations", Path("unused"))
    assert not any(grid.finished(arm) for arm in grid.plan.arms.values())


def test_the_quoted_differences_are_those_of_the_runs():
    """The page quotes seeds one by one; a mean with its error hid that they do not agree."""
    grid = published("baseline")
    arms = ("desa2va_untaught", "sa2va_untaught_time", "two_decoders", "sa2va_untaught")
    scores = [
        {seed: run.result()["report"]["ciou"] for seed, run in grid.finished(grid.plan.arms[arm]).items()}
        for arm in arms
    ]
    decoupled, equal_time, bare, baseline = scores
    gaps = [decoupled[seed] - equal_time[seed] for seed in sorted(decoupled)]
    t = statistics.mean(gaps) / (statistics.stdev(gaps) / len(gaps) ** 0.5)
    quoted = "{}, {} and {}".format(*map(shown, gaps))
    pairs = [f"{shown(scores[0])} / {shown(scores[1])}" for scores in (bare, decoupled)]
    text = " ".join((DOCS / "ablations.md").read_text(encoding="utf-8").split())
    for words in (quoted, f"t = {t:.2f}", *pairs, f"{shown(baseline[0])} / {shown(baseline[1])}"):
        assert words in text, words


def shown(value):
    """Three decimals without the zero in front, as the pages write them."""
    return f"{value:.3f}".removeprefix("0")


def test_published_tables_belong_to_packaged_plans():
    assert PUBLISHED
    assert set(PUBLISHED) <= set(packaged_plans())


def test_no_run_is_published_that_no_plan_asks_for():
    """A run left over from an older plan or a withdrawn table would be dead weight that looks like evidence."""
    wanted = set()
    for name in PUBLISHED:
        grid = published(name)
        runs = [run for arm in grid.plan.arms.values() for run in grid.finished(arm).values()]
        wanted |= {run.place.name for run in runs}
    assert {path.parent.name for path in (DOCS / "ablations" / "runs").glob("*/result.json")} == wanted


@pytest.mark.parametrize("name", PUBLISHED)
def test_arms_of_a_seed_start_from_one_checkpoint(name):
    """Differences are paired by seed: a start checkpoint trained twice must not lie between two arms of a pair."""
    grid = published(name)
    starts = {}
    for arm in grid.plan.arms.values():
        for seed, run in grid.finished(arm).items():
            key = (seed, grid.plan.start(arm))
            starts.setdefault(key, set()).add(run.result()["provenance"]["start_sha256"])
    assert all(len(hashes) == 1 for hashes in starts.values()), starts


def test_the_start_checkpoints_of_every_plan_are_there():
    """Without them a table costs hours of pre-training; the page says it does not."""
    from desa2va.hub import load

    wanted = set()
    for name in packaged_plans():
        plan = read_plan(name)
        wanted |= set() if plan.starts else {plan.start(arm) for arm in plan.arms.values()}
    for stage in wanted:
        model, processor = load(DOCS / "ablations" / "start" / stage)
        assert processor.seg_token_ids == model.config.seg_token_ids
