"""Phrases read alone by a frozen copy of the language model."""

import torch

from desa2va.training.arguments import MaskLossArguments
from desa2va.training.label_states import LabelReader
from desa2va.training.objectives.masks import TextPretrainingObjective


def test_padding_does_not_change_a_phrase(model, processor):
    """A mean over padding would make a phrase depend on its neighbours in the batch."""
    reader = LabelReader(model, processor.tokenizer)
    together = reader(["circle", "small red circle"])
    alone = LabelReader(model, processor.tokenizer)(["circle"])
    torch.testing.assert_close(together[0], alone[0], rtol=1e-4, atol=1e-5)


def test_phrases_are_read_once_and_the_copy_is_frozen(make_model, processor):
    model = make_model()
    reader = LabelReader(model, processor.tokenizer)
    before = reader(["red circle", "red circle"])
    calls = []
    reader.layers.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        for parameter in model.mllm.parameters():
            parameter.add_(1.0)
    torch.testing.assert_close(reader(["red circle"])[0], before[0], rtol=0, atol=0)
    assert not calls
    assert not any(parameter.requires_grad for parameter in reader.parameters())


def test_a_full_memory_is_emptied_not_grown(model, processor):
    reader = LabelReader(model, processor.tokenizer, capacity=3)
    for number in range(5):
        reader([f"circle {number}", "square"])
    assert len(reader.memory) <= 3


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
