"""Phrases read alone by a frozen copy of the language model."""

import torch

from desa2va.training.arguments import DeSa2VATrainingArguments, MaskLossArguments
from desa2va.training.label_states import LabelReader, PhraseSample, read_phrases
from desa2va.training.language_adapters import attach_lora
from desa2va.training.objectives.masks import TextPretrainingObjective
from desa2va.training.phases import free_parameters, trainable_prefixes


def test_padding_does_not_change_a_phrase(model, processor):
    """A mean over padding would make a phrase depend on its neighbours in the batch."""
    reader = LabelReader(model, processor.tokenizer)
    together = reader(["circle", "small red circle"])
    alone = LabelReader(model, processor.tokenizer)(["circle"])
    torch.testing.assert_close(together[0], alone[0], rtol=1e-4, atol=1e-5)


def test_a_phrase_counts_once_and_the_copy_is_frozen(make_model, processor):
    model = make_model()
    reader = LabelReader(model, processor.tokenizer)
    before = reader(["red circle", "star", "red circle"])
    assert torch.equal(before[0], before[2])
    sizes = []
    reader.layers.register_forward_pre_hook(lambda _, a, k: sizes.append(len(k["input_ids"])), with_kwargs=True)
    with torch.no_grad():
        for parameter in model.mllm.parameters():
            parameter.add_(1.0)
    assert torch.equal(reader(["red circle", "star", "red circle"]), before)
    assert sizes == [2]
    assert not any(parameter.requires_grad for parameter in reader.parameters())


def test_a_state_does_not_depend_on_what_was_read_before(model, processor):
    """Remembered states had the rounding of the company they were read in: a resumed run had another."""
    used = LabelReader(model, processor.tokenizer)
    phrases = ["circle", "small red circle", "star"]
    for count in (1, 2, 30):
        used(["circle"] + [f"the {'big ' * number}square" for number in range(count)])
    assert torch.equal(used(phrases), LabelReader(model, processor.tokenizer)(phrases))


def test_control_tokens_in_a_phrase_stay_text(model, processor):
    """A label such as "[SEG]" from a user's file must not be read as the control token."""
    reader = LabelReader(model, processor.tokenizer)
    seen = {}
    reader.layers.register_forward_pre_hook(lambda m, a, k: seen.update(ids=k["input_ids"]), with_kwargs=True)
    reader(["[SEG]"])
    assert processor.seg_token_ids[0] not in seen["ids"]


def test_the_reader_goes_where_the_trained_model_goes(make_model, processor):
    """It is no part of the trained module, and used to stay on the CPU when the model moved."""
    model = make_model()
    objective = TextPretrainingObjective(model, MaskLossArguments(), LabelReader(model, processor.tokenizer))
    names = dict(objective.named_parameters())
    objective.to("meta")
    assert {value.device.type for value in objective._reader[0].parameters()} == {"meta"}
    assert not any("reader" in name for name in names)


def test_shared_layers_with_adapters_off_read_what_a_copy_reads(make_model, processor, tmp_path):
    """A copy of a 4B language model takes 12 GB in every process."""
    arguments = DeSa2VATrainingArguments(output_dir=str(tmp_path), use_cpu=True, lora_rank=4)
    model = make_model()
    copied = LabelReader(model, processor.tokenizer)
    free_parameters(model, trainable_prefixes(arguments))
    shared = LabelReader(model, processor.tokenizer, shared=True)
    shared.without(attach_lora(model, arguments))
    assert not list(shared.parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "trainable_tokens_delta" in name:
                parameter.add_(1.0)
    phrases = ["small red circle", "star", "a b c d e"]
    model.train()
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert torch.equal(shared(phrases), copied(phrases))
    assert not torch.equal(read_phrases(shared.layers, processor.tokenizer, phrases), copied(phrases))
    assert all(module.training for module in shared.layers.modules())
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == flags


def test_no_phrase_is_no_state(make_model, processor):
    assert LabelReader(make_model(), processor.tokenizer, shared=True)([]).shape == (0, 128)


def test_a_sample_of_phrases_does_not_depend_on_their_order():
    """Interrupted, resumed, or read by several processes: the same phrases correct W_l."""
    phrases = [f"phrase {number}" for number in range(100)]
    straight, parts = PhraseSample(8), [PhraseSample(8), PhraseSample(8)]
    straight.add(phrases)
    for number, phrase in enumerate(reversed(phrases)):
        parts[number % 2].add([phrase, phrase])
    parts[0].add(parts[1].phrases())
    assert len(straight.phrases()) == 8
    assert parts[0].phrases() == straight.phrases() == sorted(straight.phrases())
