"""W_l fitted anew after a stage, so that the next stage's label reader says what this one's said (paper section 3.2).

Enters: a trained model, phrases of its stage and what W_l made of them at its start. Leaves: the model with another
W_l, and how well it fits.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel

from .label_states import LabelReader, read_phrases
from .projection_fit import correct_projection

FEWEST_PHRASES = 32
RIDGE = 1e-4


@torch.no_grad()
def start_prompts(model: DeSa2VAModel, reader: LabelReader, phrases: list[str]) -> torch.Tensor:
    """What W_l makes of phrases as the stage's reader reads them: (L, C), float32.

    Not from the reader's memory: how the last bits of a state come out depends on the phrases it was read with, and
    an interrupted stage has read others together.
    """
    return model.decoupling.label(reader.read(phrases)).float()


@torch.no_grad()
def refit_label_projection(
    model: DeSa2VAModel, tokenizer: Any, phrases: list[str], prompts: torch.Tensor
) -> float | None:
    """Lets W_l read the trained language model as it read the one the stage began with.

    The paper's label reader is frozen; a stage's is the language model it starts from. After a stage that moves the
    language model the next stage reads labels with other states, while W_l and the text decoder are the old ones,
    and the text mask's teacher gets worse from stage to stage. W_l is corrected by least squares until the new states
    of the phrases this stage has read give their old prompts.

    Args:
        model: after the stage. tokenizer: the model's. phrases: of the stage. prompts: their `start_prompts`.

    Returns:
        Share of the old prompts' variance that comes back on phrases left out of the fit; `None`, and no
        change, with fewer than 32 phrases.
    """
    if len(phrases) < FEWEST_PHRASES:
        return None
    projection = model.decoupling.label
    layers = model.mllm.model.language_model
    training = layers.training
    states = read_phrases(layers.eval(), tokenizer, phrases).float().to(prompts.device)
    layers.train(training)
    held_out = torch.arange(len(phrases), device=states.device) % 5 == 0
    trial = copy.deepcopy(projection)
    correct_projection(trial, states[~held_out], prompts[~held_out], RIDGE)
    missed = (trial(states[held_out]) - prompts[held_out]).square().mean()
    correct_projection(projection, states, prompts, RIDGE)
    return float(1 - missed / prompts[held_out].var(dim=0, correction=0).mean())


__all__ = ["refit_label_projection", "start_prompts"]
