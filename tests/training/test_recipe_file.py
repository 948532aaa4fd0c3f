"""Configurations: every key is read by something, every error is one sentence that names its place."""

import pytest
import yaml

from desa2va.training.arguments import DeSa2VATrainingArguments
from desa2va.training.data.readers import READERS
from desa2va.training.recipe_file import CONFIG_FOLDER, apply_overrides, check_config, read_config, resolve_stages


def written(folder, text):
    path = folder / "recipe.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainin.max_steps=1", "'trainin' is unknown; did you mean 'training'"),
        ("a.b.c=1", "'a' is unknown; known are"),
        ("model.fusoin=mean", "model: 'fusoin' is unknown; did you mean 'fusion'"),
        ("training.weights.visual_msk=1", "training.weights: 'visual_msk' is unknown; did you mean 'visual_mask'"),
        ("data.options.conversatons=2", "data.options: 'conversatons' is unknown; did you mean 'conversations'"),
        ("mask_loss.dice_wieght=1", "mask_loss: 'dice_wieght' is unknown; did you mean 'dice_weight'"),
        ("training.learning_rate=fast", "training.learning_rate must be a number, got 'fast'"),
        ("training.learning_rate=", r"training.learning_rate must be a number, got nothing \(null\)"),
        ("training.output_dir=x", "output_dir at the top"),
        ("training.resume_from_checkpoint=x", "resumes by itself"),
        ("training=5", "training must be a mapping"),
        ("seed.x=1", "seed is no section"),
        ("stages.0.name=x", "stages is a list"),
        ("training.max_steps", "section.key=value"),
        ("training.max_steps=[", "is no YAML"),
        ("stages=[]", "stages must be a list"),
    ],
)
def test_a_misspelt_override_is_refused(override, said):
    """It trained without a word, with the setting that was not wanted."""
    config = {"seed": 0, "stages": [{"name": "one"}]}
    with pytest.raises(ValueError, match=said):
        apply_overrides(config, [override])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainig: {}\n", "'trainig' is unknown; did you mean 'training'"),
        ("stages:\n- {nme: one}\n", r"stages\[0\]: 'nme' is unknown; did you mean 'name'"),
        ("stages:\n- training: {phas: fusion}\n", r"stages\[0\]: training: 'phas' is unknown; did you mean 'phase'"),
        ("stages: {one: two}\n", "stages must be a list"),
        ("stages:\n- stages: []\n", r"stages\[0\]: 'stages' is unknown"),
        ("data: {parts: [{}]}\n", r"data.parts\[0\] needs a dataset"),
        ("data: {parts: [3]}\n", r"data.parts\[0\] must be a mapping"),
        (
            "data: {parts: [{dataset: refshapes, shar: 1}]}\n",
            r"data.parts\[0\]: 'shar' is unknown; did you mean 'share'",
        ),
        ("data: {parts: [{dataset: refshapes, share: 0}]}\n", "share must be a positive number"),
        ("data: {parts: [{dataset: refshapes, repeats: 0}]}\n", "repeats must be a positive number"),
        ("data: {temperature: 0}\n", "temperature must be a positive number"),
        (
            "data: {parts: [{dataset: refshapes, share: 1}, {dataset: refshapes, repeats: 1}]}\n",
            "share or repeats, the same of all parts",
        ),
        (
            "data: {parts: [{dataset: refshapes, options: {image_root: x}}]}\n",
            r"data.parts\[0\].options: 'image_root' is unknown",
        ),
        ("training:\n", "training must be a mapping of keys to values, got nothing"),
        ("training: {max_steps: 1}\ntraining: {seed: 1}\n", "line 2, column 1: 'training' stands twice"),
        ("training: {max_steps: 1\n", "recipe.yaml is no YAML: line 2"),
        ("- 1\n", "must be a mapping"),
        ("", "must be a mapping"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, text, said):
    with pytest.raises(ValueError, match=said) as error:
        read_config(written(tmp_path, text))
    assert "recipe.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_are_numbers_however_they_are_written(tmp_path):
    """YAML reads `1e-4` as text."""
    text = "training: {learning_rate: 1e-4, max_steps: '5', lr_scheduler_kwargs: {min_lr: 1e-5}, save_strategy: no}\n"
    training = read_config(written(tmp_path, text))["training"]
    assert training == {
        "learning_rate": 1e-4,
        "max_steps": 5,
        "lr_scheduler_kwargs": {"min_lr": 1e-5},
        "save_strategy": "no",
    }


def test_an_override_holds_for_every_stage():
    """A stage's own number went before the one that was asked for by hand."""
    config = apply_overrides(read_config("tiny"), ["training.per_device_train_batch_size=3", "output_dir=runs/x"])
    stages = resolve_stages(config)
    assert {stage["training"]["per_device_train_batch_size"] for stage in stages} == {3}
    assert stages[0]["output_dir"] == "runs/x/vision"


@pytest.mark.parametrize(
    ("recipe", "override"),
    [
        ("finetune", "training.num_train_epochs=2"),
        ("desa2va/1b", "training.max_steps=3"),
        ("tiny", "training.num_train_epochs=2"),  # its stages have their steps in files of their own
    ],
)
def test_the_length_given_by_hand_is_the_only_one(recipe, override):
    """Epochs asked for beside a recipe that has steps trained for those steps, without a word."""
    for stage in resolve_stages(apply_overrides(read_config(recipe), [override])):
        lengths = {
            name: value for name, value in stage["training"].items() if name in ("max_steps", "num_train_epochs")
        }
        assert [f"training.{name}={value:g}" for name, value in lengths.items()] == [override]


def test_no_limit_of_steps_leaves_the_epochs():
    (stage,) = resolve_stages(apply_overrides(read_config("finetune_lora"), ["training.max_steps=-1"]))
    assert stage["training"]["num_train_epochs"] == 3


def test_two_lengths_in_one_place_are_refused():
    """Nobody can tell which of them is meant; transformers takes the steps."""
    both = ["training.max_steps=5", "training.num_train_epochs=2"]
    with pytest.raises(ValueError, match="overrides: training: max_steps and num_train_epochs both say how long"):
        apply_overrides(read_config("finetune"), both)
    with pytest.raises(ValueError, match="mine.yaml: training: max_steps and num_train_epochs both say how long"):
        check_config({"training": {"max_steps": 5, "num_train_epochs": 2}}, "mine.yaml")


def test_stages_follow_one_another():
    stages = [{"name": "one"}, {"name": "two"}, {"name": "three", "start_from": "one"}]
    resolved = resolve_stages({"output_dir": "runs", "init_from": "desa2va-tiny", "stages": stages})
    assert [stage["init_from"] for stage in resolved] == ["desa2va-tiny", "runs/one", "runs/one"]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([{"name": "one"}, {"name": "one"}], "two stages are called 'one'"),
        ([{"name": "one", "start_from": "nothing"}], "no stage before it is called 'nothing'"),
        (
            [{"name": "one"}, {"name": "two", "data": {"dataset": "a.json", "options": {"level": "easy"}}}],
            "stage two: data.options of a.json: 'level' is unknown",
        ),
    ],
)
def test_a_recipe_is_checked_before_its_first_stage(stages, said):
    """An error of the last stage showed after hours, and of two stages of one name the second was skipped."""
    with pytest.raises(ValueError, match=said):
        resolve_stages(check_config({"output_dir": "runs", "stages": stages}, "here"))


def test_packaged_configurations_are_valid(tmp_path):
    """A typo in a shipped YAML shows here, not after an hour of training."""
    names = [str(path.relative_to(CONFIG_FOLDER).with_suffix("")) for path in CONFIG_FOLDER.rglob("*.yaml")]
    assert "tiny" in names
    for name in names:
        for stage in resolve_stages(read_config(name)):
            DeSa2VATrainingArguments(output_dir=str(tmp_path), use_cpu=True, **stage["training"])


def test_an_unknown_configuration_names_the_packaged_ones():
    with pytest.raises(FileNotFoundError, match="packaged: .*tiny"):
        read_config("no_such_recipe")


def test_a_file_round_trips(tmp_path):
    """The check alters nothing that is right: fingerprints of finished runs depend on it."""
    for name in ("tiny", "tiny/ablation", "tiny/fusion", "finetune", "desa2va/4b", "finetune_qlora"):
        config = read_config(name)
        assert read_config(written(tmp_path, yaml.safe_dump(config))) == config


@pytest.mark.parametrize("size", ["1b", "4b", "8b"])
def test_the_papers_recipe_is_the_papers(size, tmp_path):
    """What the paper and Sa2VA state, stated once more: a slip in a YAML would train for two days unseen."""
    stages = resolve_stages(read_config(f"desa2va/{size}"))
    assert [stage["training"]["phase"] for stage in stages] == ["text_pretraining", "decoupling", "fusion"]
    for stage in stages:
        training = stage["training"]
        said = {"learning_rate": 4e-5, "weight_decay": 0.05, "warmup_steps": 0.05, "max_grad_norm": 1.0, "bf16": True}
        said |= {"language_model": "lora", "lora_rank": 128, "lora_alpha": 256, "lora_dropout": 0.05}
        assert said.items() <= training.items()
        assert 8 * training["per_device_train_batch_size"] * training["gradient_accumulation_steps"] == 256
        assert stage["mask_loss"]["num_points"] == 12544
        assert stage["model"] == {"preset": size, "dtype": "bfloat16"}
    assert stages[1]["training"]["num_train_epochs"] == 1
    assert stages[1]["training"]["weights"] == DeSa2VATrainingArguments(output_dir=str(tmp_path)).weights
    assert stages[2]["training"]["weights"] == stages[1]["training"]["weights"] | {"adversarial": 0, "club": 0}
    repeats = {part["dataset"]: part.get("repeats", 1) for part in stages[1]["data"]["parts"]}
    assert set(repeats) <= set(READERS)  # any other name is the path of a file that nobody has
    assert list(repeats.values()) == [5, 5, 4, 1, 10, 4, 4, 4, 1, 5, 50, 5, 5, 1, 1]  # Sa2VA's, in its order
