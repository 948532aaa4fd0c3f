"""docs/decoupling.md says what its runs say: tables, verdicts, and which runs are kept."""

from functools import cache
from pathlib import Path

import pytest

from desa2va.eval.ablations.contrasts import cell, contrasts_markdown, summarise_contrasts
from desa2va.eval.ablations.plan import read_plan
from desa2va.eval.ablations.rates import scaled
from desa2va.eval.ablations.schedule import Grid
from desa2va.eval.ablations.table import markdown, rates_markdown, summarise

DOCS = Path(__file__).resolve().parents[2] / "docs"
METHOD_VERSION = 3  # of the terms in the runs behind the page
MAIN = "decoupling"
PUBLISHED = sorted(path.stem for path in (DOCS / "decoupling").glob("*.png") if not path.stem.endswith("_contrasts"))
LEFT_OUT = (0.25, 2.0)  # factors that some arms tried and the others were spared, as the page says
HYPOTHESES = {
    "H1": ("all", "two_decoders", "in_distribution"),
    "H2": ("all", "two_decoders_time", "in_distribution"),
    "H3": ("all", "two_decoders", "held_out"),
    "H4": ("all", "two_decoders", "unasked"),
    "H5": ("all", "two_decoders", "mean_of_harder"),
    "H6": ("pretrained", "two_decoders", "in_distribution"),
    "H7": ("club", "pretrained", "in_distribution"),
    "H8": ("game", "pretrained", "in_distribution"),
    "H9": ("orthogonality", "pretrained", "in_distribution"),
    "H10": ("two_decoders", "baseline_wide", "in_distribution"),
}


def published(name):
    return Grid(read_plan(name), DOCS / "decoupling", Path("unused"), method_version=METHOD_VERSION)


@cache
def contrasts(name):
    return summarise_contrasts(published(name))


@cache
def page():
    return (DOCS / "decoupling.md").read_text(encoding="utf-8")


@cache
def summary(name):
    """Values of the table of arms, by arm."""
    return {row["name"]: row["values"] for row in summarise(published(name))["rows"]}


def differences(name):
    """Sets of scores of the table of contrasts, by arm and what it is measured against."""
    return {(row["arm"], row["against"]): row["sets"] for row in contrasts(name)["rows"]}


def short_answer():
    return page()[: page().index("## Why")]


def ten_lines():
    return page()[page().index("## Answer") : page().index("### The hypotheses")]


@cache
def readme():
    """On one line."""
    return " ".join((DOCS.parent / "README.md").read_text(encoding="utf-8").split())


def in_points(found):
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * found[key] for key in ("mean", "low", "high")))


def in_short(number):
    return f"{number:.3f}".removeprefix("0")


def ciou(name, arm):
    return summary(name)[arm]["sets.in_distribution.ciou"]


def below_under_every_seed(name):
    """Whether the method is below its control with each of five seeds."""
    method, control = (ciou(name, arm)["by_seed"] for arm in ("all", "two_decoders"))
    return len(method) == 5 and all(method[seed] < control[seed] for seed in method)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_tables_of_the_page_are_what_the_runs_say(name):
    grid = published(name)
    assert markdown(summarise(grid)) in page()
    assert contrasts_markdown(contrasts(name)) in page()
    if grid.plan.rates:
        assert rates_markdown(grid) in page()
    for picture in (name, f"{name}_contrasts"):
        assert f"decoupling/{picture}.png" in page()


@pytest.mark.parametrize("hypothesis", HYPOTHESES)
def test_every_hypothesis_has_the_verdict_of_the_rule(hypothesis):
    arm, against, scores = HYPOTHESES[hypothesis]
    found = differences(MAIN)[arm, against][scores]
    assert found["n"] == 5
    assert f"| {hypothesis} | `{arm}` - `{against}` | {cell(found)} | {found['verdict']} |" in page()


def test_what_is_quoted_is_what_was_measured():
    """The short answer, its ten lines and README, in the words they use."""
    rows = differences(MAIN)

    def points(arm, against, name="in_distribution", of=rows):
        return in_points(of[arm, against][name])

    def mean(arm):
        return in_short(ciou(MAIN, arm)["mean"])

    both = [mean("all"), mean("two_decoders"), points("all", "two_decoders").replace(" [", " points [")]
    for words in (*both, points("all", "two_decoders_time")):
        assert words in readme(), words
    quoted = [points("all", "two_decoders", name) for name in ("in_distribution", "held_out", "mean_of_harder")]
    quoted += [points("all", "two_decoders_time"), points("orthogonality", "pretrained")]
    quoted += [points("two_decoders", "baseline_wide"), points("two_decoders", "baseline")]
    quoted += [f"{mean('all')}, two decoders and a gate without any of it {mean('two_decoders')}", mean("baseline")]
    for words in quoted:
        assert words in ten_lines(), words
    few = differences("decoupling_data5")
    for pair in (("pretrained", "two_decoders"), ("all", "two_decoders"), ("all", "pretrained")):
        assert few[pair]["in_distribution"]["n"] == 5
        assert points(*pair, of=few) in ten_lines(), pair
    assert below_under_every_seed(MAIN)
    shown = [found for sets in rows.values() for found in sets.values() if found["verdict"] == "shown"]
    assert f"six of {contrasts(MAIN)['comparisons']} differences" in ten_lines()
    assert len(shown) == 6


@pytest.mark.parametrize("name", ["decoupling_wide", "decoupling_lora"])
def test_what_is_quoted_of_wider_prompts_and_of_lora(name):
    """By the page and by README, with the verdict of the rule."""
    ((pair, sets),) = differences(name).items()
    found = sets["in_distribution"]
    assert (*pair, found["n"]) == ("all", "two_decoders", 5)
    points = in_points(found)
    assert f"{points}, {found['verdict']})" in short_answer()
    method, control = (in_short(ciou(name, arm)["mean"]) for arm in ("all", "two_decoders"))
    assert f"{method} and {control}, {points} (p {in_short(found['p'])}, {found['verdict']}" in ten_lines()
    assert points in readme()
    assert below_under_every_seed(name)


def test_no_run_is_kept_that_the_page_does_not_use():
    wanted = set()
    for name in PUBLISHED:
        grid = published(name)
        for arm in grid.plan.arms.values():
            runs = [*grid.finished(arm).values(), *grid.rate_runs(arm).values()]
            if grid.plan.rates and not arm.equal_time:
                at_one = grid.rate_runs(arm)[1.0]
                runs += [grid._make_run(scaled(at_one.config, factor), at_one.scoring) for factor in LEFT_OUT]
            wanted |= {run.place.name for run in runs if run.finished}
    assert {path.parent.name for path in (DOCS / "decoupling" / "runs").glob("*/result.json")} == wanted


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_arms_of_a_seed_are_of_one_kind(name):
    """One start checkpoint for a stage, one version of terms and packages for all arms."""
    grid = published(name)
    starts, versions = {}, {}
    for arm in grid.plan.arms.values():
        for seed, run in grid.finished(arm).items():
            facts = run.result()["provenance"]
            starts.setdefault((seed % 2, grid.plan.start(arm)), set()).add(facts["start_sha256"])
            versions.setdefault(seed, set()).add(str(facts["versions"]))
    assert all(len(hashes) == 1 for hashes in starts.values()), starts
    assert all(len(kinds) == 1 for kinds in versions.values()), versions
