"""Plans are read strictly and resolve to whole, comparable configurations."""

import pytest
import yaml

from desa2va.eval.ablations.plan import fingerprint, packaged_plans, read_plan
from desa2va.training.arguments import DeSa2VATrainingArguments

MASKS = ("visual_mask", "fused_mask", "text_mask")
PAPER = {"baseline", "data", "reprompt", "seg_design", "start", "terms"}


def write(tmp_path, **content):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({"title": "t", "reference": "a", "arms": {"a": {}}, **content}))
    return str(path)


def test_all_plans_of_the_paper_are_packaged():
    assert set(packaged_plans()) >= PAPER


@pytest.mark.parametrize("name", packaged_plans())
def test_every_packaged_arm_is_a_valid_training_with_the_same_mask_weight(name, tmp_path):
    """An arm with more mask loss than another would be compared unfairly, and a typo would fail after hours."""
    plan = read_plan(name)
    for arm in plan.arms.values():
        config = plan.stage(arm, 0)
        arguments = DeSa2VATrainingArguments(output_dir=str(tmp_path), use_cpu=True, **config["training"])
        assert sum(arguments.weights.get(term, 0) for term in MASKS) == pytest.approx(2.0), arm.name


@pytest.mark.parametrize("name", packaged_plans())
def test_packaged_plans_score_at_least_a_thousand_scenes(name):
    assert read_plan(name).scenes >= 1000


def test_arms_differ_in_what_they_say_and_in_nothing_else():
    plan = read_plan("terms")
    base, other = plan.stage(plan.arms["desa2va"], 3), plan.stage(plan.arms["no_club"], 3)
    assert other["training"]["weights"].pop("club") == 0
    base["training"]["weights"].pop("club")
    assert base == other


def test_an_arm_like_another_inherits_its_settings_and_start(tmp_path):
    arms = {"a": {"training": {"seed": 1}, "start_from": "grounding"}, "b": {"like": "a", "model": {"fusion": "mean"}}}
    plan = read_plan(write(tmp_path, arms=arms))
    assert plan.stage(plan.arms["b"], 0)["training"]["seed"] == 1
    assert plan.stage(plan.arms["b"], 0)["model"]["fusion"] == "mean"
    assert plan.start(plan.arms["b"]) == "grounding"


def test_equal_arms_of_two_plans_share_one_run():
    """`start` and `terms` both hold the default; training it twice would waste hours."""
    one, two = read_plan("start"), read_plan("terms")
    first, second = (plan.stage(plan.arms["desa2va"], 0) for plan in (one, two))
    assert fingerprint(first) == fingerprint(second)
    assert fingerprint(first) != fingerprint(one.stage(one.arms["desa2va"], 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"reference": "b"}, "reference 'b' is no arm"),
        ({"seedz": [1]}, "'seedz' is unknown; did you mean 'seeds'"),
        ({"arms": {"a": {"weights": {}}}}, "arm 'a': 'weights' is unknown"),
        ({"arms": {"a": {"model": {"fusoin": "mean"}}}}, "arm 'a': model: 'fusoin' is unknown; did you mean 'fusion'"),
        ({"arms": {"a": {"like": "c"}}}, "like='c' is no other arm"),
        ({"arms": {"a": {"like": "b"}, "b": {"like": "a"}}}, "in a circle"),
        ({"arms": {"a": {}, "b": {"equal_time": "a"}}}, "equal_time needs `like`"),
        ({"seeds": []}, "seeds must not be empty"),
    ],
)
def test_a_wrong_plan_is_one_error_that_names_what(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_plan(write(tmp_path, **content))


def test_an_unknown_plan_names_the_packaged_ones():
    with pytest.raises(FileNotFoundError, match="baseline"):
        read_plan("tabel4")
