"""Which `[SEG]` is which object on which frame."""

import pytest
import torch

from desa2va.modeling_desa2va.decoupling import Prompts
from desa2va.modeling_desa2va.objects import find_objects

SEG, A, B = 6, 7, 8


def test_ragged_objects_meet_the_frames_of_their_own_visual():
    """Sequences 0 and 2 share visual 1 (two frames), sequence 1 is text, sequence 3 has no [SEG]."""
    ids = torch.tensor([[SEG, 1, SEG], [1, SEG, 1], [1, 1, SEG], [1, 1, 1]])
    index = find_objects(ids, [SEG], 1, torch.tensor([0, 1, 1]), torch.tensor([1, -1, 1, 0]))
    assert index.sequence.tolist() == [0, 0, 1, 2]
    assert index.positions.tolist() == [[0], [2], [1], [2]]
    assert index.pairs.object.tolist() == [0, 0, 1, 1, 3, 3]
    assert index.pairs.frame.tolist() == [1, 2, 1, 2, 1, 2]


def test_groups_of_tokens_prompt_frame_by_frame():
    """`unique`: three tokens per object; the third prompts every later frame too."""
    ids = torch.tensor([[SEG, A, B, 1]])
    index = find_objects(ids, [SEG, A, B], 3, torch.zeros(4, dtype=torch.long), torch.tensor([0]))
    assert index.positions.tolist() == [[0, 1, 2]]
    assert index.pairs.token.tolist() == [0, 1, 2, 2]
    prompts = Prompts(None, torch.arange(3.0).reshape(1, 3, 1))
    assert prompts.at(index.pairs.object, index.pairs.token, index.pairs.time)[1][:, 0].tolist() == [0, 1, 2, 2]


def test_an_incomplete_group_is_an_error_that_names_the_sequence():
    with pytest.raises(ValueError, match="sequence 1 holds 1"):
        find_objects(torch.tensor([[SEG, SEG], [SEG, 1]]), [SEG], 2, None, None)


def test_no_objects_at_all():
    index = find_objects(torch.ones(2, 3, dtype=torch.long), [SEG], 1, torch.tensor([0]), torch.tensor([0, 0]))
    assert len(index.sequence) == len(index.pairs.object) == 0
