"""After a stage W_l reads the moved language model as it read the old one: else the text mask's teacher decays."""

import itertools

import torch

from desa2va.training.label_refit import refit_label_projection, start_prompts
from desa2va.training.label_states import LabelReader

WORDS = (("small", "large", "tiny"), ("red", "green", "blue", "white", "pink"), ("circle", "square", "star", "ring"))
PHRASES = [" ".join(words) for words in itertools.product(*WORDS)]


def move(model, amount):
    """Training, as far as a label reader is concerned: every weight of the language layers changes."""
    with torch.no_grad():
        for parameter in model.mllm.model.language_model.parameters():
            parameter.add_(torch.randn_like(parameter) * amount * parameter.std().nan_to_num(0.0))


def test_old_prompts_come_back_from_the_new_language_model(make_model, processor):
    torch.manual_seed(0)
    model = make_model()
    reader = LabelReader(model, processor.tokenizer)
    with torch.no_grad():
        before = model.decoupling.label(reader(PHRASES))
        move(model, 0.5)
        moved = LabelReader(model, processor.tokenizer)(PHRASES)
        spread = before.var(dim=0).mean()
        drift = (model.decoupling.label(moved) - before).square().mean() / spread
        prompts = start_prompts(model, reader, PHRASES)
        explained = refit_label_projection(model, processor.tokenizer, PHRASES, prompts)
        error = (model.decoupling.label(moved) - before).square().mean() / spread
    assert drift > 0.2
    assert error < 0.05 * drift
    assert 0.5 < explained <= 1


def test_a_language_model_that_stayed_keeps_its_prompts(make_model, processor):
    torch.manual_seed(0)
    model = make_model()
    reader = LabelReader(model, processor.tokenizer)
    with torch.no_grad():
        before = model.decoupling.label(reader(PHRASES))
        prompts = start_prompts(model, reader, PHRASES)
        assert refit_label_projection(model, processor.tokenizer, PHRASES, prompts) > 0.999
        after = model.decoupling.label(reader(PHRASES))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_too_few_phrases_change_nothing(make_model, processor):
    """Five labels do not determine a map of 128 x 64 numbers."""
    model = make_model()
    reader = LabelReader(model, processor.tokenizer)
    weight = model.decoupling.label.layers[0].weight.detach().clone()
    prompts = start_prompts(model, reader, PHRASES[:5])
    move(model, 0.5)
    assert refit_label_projection(model, processor.tokenizer, PHRASES[:5], prompts) is None
    assert torch.equal(model.decoupling.label.layers[0].weight, weight)
