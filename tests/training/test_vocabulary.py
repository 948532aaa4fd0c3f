import copy

import pytest
import torch
from safetensors.torch import load_file

from desa2va.hub import resolve
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.training.data.refshapes import later_words
from desa2va.training.recipe_file import apply_overrides, read_config
from desa2va.training.stage_model import with_fields
from desa2va.training.train import run_recipe
from desa2va.training.vocabulary import learn_words, missing_words

ASKING = {"parts": [{"options": {"kinds": {"attribute": 1.0}}}, {"options": {"kinds": {"set": 0.5}}}]}


def test_only_stages_that_ask_for_later_kinds_learn_words(processor):
    """Rows that become words in every stage would change trainings that never say them."""
    assert missing_words({"options": {"kinds": {"attribute": 1.0, "caption": 1.0}}}, processor) == []
    assert missing_words({}, processor) == missing_words({"options": None}, processor) == []
    assert missing_words(ASKING, processor) == later_words()
    assert missing_words({"options": {"kinds": {"video_caption": 1.0}}}, processor) == later_words()


@pytest.mark.parametrize("room", [True, False])
def test_trained_rows_stay_and_new_ones_follow(make_model, processor, room):
    """Guards ids that move under trained weights, and an embedding that is too small for its tokenizer."""
    model, own = make_model(), copy.deepcopy(processor)
    words = later_words() if room else [*later_words(), *(f"word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
    inputs = own.tokenizer("Please segment the small red circle.")["input_ids"]
    size, rows = len(own.tokenizer), model.get_input_embeddings().weight.detach().clone()
    spelled = own.tokenizer(" every", add_special_tokens=False)["input_ids"]
    learn_words(model, own, words)
    assert own.tokenizer("Please segment the small red circle.")["input_ids"] == inputs
    weight = model.get_input_embeddings().weight
    assert torch.equal(weight[:size], rows[:size])
    assert len(weight) == max(len(rows), len(own.tokenizer))
    assert (len(weight) == len(rows)) == room
    assert torch.equal(model.get_output_embeddings().weight, weight)
    (new,) = own.tokenizer(" every", add_special_tokens=False)["input_ids"]
    assert torch.allclose(weight[new], rows[spelled].mean(dim=0))
    again = with_fields(model, {})  # the model of a stage is built anew from its configuration
    assert torch.equal(again.get_input_embeddings().weight, weight)
    learn_words(model, own, words)
    assert len(own.tokenizer.get_vocab()) == max(own.tokenizer.get_vocab().values()) + 1


def test_a_stage_over_all_kinds_goes_on_from_the_shipped_weights(tmp_path):
    """Guards kinds that no collator or loss takes, and a checkpoint whose tokenizer has lost the new words."""
    small = ("training.max_steps=2", "training.per_device_train_batch_size=2", "training.logging_steps=1")
    quiet = ("training.save_strategy=no", "training.use_cpu=true", "training.disable_tqdm=true")
    start = ("init_from=desa2va-tiny", f"output_dir={tmp_path}")
    folder = run_recipe(apply_overrides(read_config("tiny/tasks"), [*small, *quiet, *start]))
    weights = load_file(folder / "model.safetensors")
    assert all(bool(value.isfinite().all()) for value in weights.values())
    tokenizer = DeSa2VAProcessor.from_pretrained(folder).tokenizer
    assert all(len(tokenizer.tokenize(text)) == 1 for word in later_words() for text in (word, f" {word}"))
    assert tokenizer.convert_tokens_to_ids("Ġcircle") == shipped_id("Ġcircle")


def shipped_id(word):
    return DeSa2VAProcessor.from_pretrained(resolve("desa2va-tiny")).tokenizer.convert_tokens_to_ids(word)
