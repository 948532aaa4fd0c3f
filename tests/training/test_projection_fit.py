"""Maps fitted to states, and what a bottleneck keeps of them."""

import pytest
import torch

from desa2va.modeling_desa2va.decoupling import Projection
from desa2va.training.projection_fit import correct_projection, fit_projection, read_map, write_map


@pytest.mark.parametrize("rank", [None, 6])
def test_a_map_that_fits_is_held_exactly(rank):
    torch.manual_seed(0)
    projection = Projection("linear", 12, 8, rank)
    weight = torch.randn(8, 5) @ torch.randn(5, 12)
    written = write_map(projection, weight)
    torch.testing.assert_close(written, weight, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(read_map(projection), weight, rtol=1e-4, atol=1e-4)


def test_a_map_is_cut_as_its_singular_values_say():
    """Truncated SVD: the error is what was cut, by Eckart and Young."""
    torch.manual_seed(0)
    projection, weight = Projection("linear", 12, 8, 3), torch.randn(8, 12)
    error = (write_map(projection, weight) - weight).norm()
    torch.testing.assert_close(error, torch.linalg.svdvals(weight)[3:].norm(), rtol=1e-4, atol=0)


def test_a_fit_through_a_bottleneck_is_the_best_there_is():
    """The SVD of the matrix alone would keep the direction that these states hardly use.

    States have deviations (10, .1), the map is diag(1, 5): rank one must keep the first coordinate.
    """
    torch.manual_seed(0)
    projection = Projection("linear", 2, 2, 1)
    states = torch.randn(4000, 2) * torch.tensor([10.0, 0.1])
    prompts = states * torch.tensor([1.0, 5.0]) + 3
    fit_projection(projection, states, prompts, ridge=1e-6)
    missed = (projection(states) - prompts).square().mean(dim=0)
    assert missed[0] < 0.01
    torch.testing.assert_close(missed[1], torch.tensor(0.25), rtol=0.1, atol=0)


@pytest.mark.parametrize("rank", [None, 32])
def test_of_an_mlp_the_linear_part_is_fitted(rank):
    """W_t of a DeSa2VA that starts from Sa2VA is an MLP: what its first layer learned must stay."""
    torch.manual_seed(0)
    projection = Projection("mlp", 64, 32, rank)
    states, first = torch.randn(2000, 64), projection.layers[0].weight.clone()
    prompts = (projection.layers[:2](states) @ torch.randn(64, 32) + torch.randn(32)).detach()
    fit_projection(projection, states, prompts, ridge=1e-6)
    torch.testing.assert_close(projection(states), prompts, atol=1e-2, rtol=1e-2)
    assert torch.equal(projection.layers[0].weight, first)


def test_a_corrected_bottleneck_gives_its_old_prompts_for_moved_states():
    """The factors are not additive: adding a correction factor by factor gave another map."""
    torch.manual_seed(0)
    projection = Projection("linear", 12, 8, 3)
    states = torch.randn(400, 12)
    prompts = projection(states).detach()
    moved = states @ (torch.eye(12) + 0.5 * torch.randn(12, 12)) + 1
    correct_projection(projection, moved, prompts, ridge=1e-6)
    torch.testing.assert_close(projection(moved), prompts, rtol=1e-2, atol=1e-3)


def test_directions_that_are_left_over_can_still_learn():
    """A map of rank one in a bottleneck of three: zeros on both sides of the other two would stay zeros for ever."""
    torch.manual_seed(0)
    projection = Projection("linear", 12, 8, 3)
    write_map(projection, torch.randn(8, 1) @ torch.randn(1, 12))
    (projection(torch.randn(20, 12)) * torch.randn(20, 8)).sum().backward()
    assert (projection.layers[0].weight.grad.abs().sum(dim=1) > 1e-3).all()
