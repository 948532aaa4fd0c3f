"""The queue keeps the most recent pairs, survives a restart, and gathers over processes."""

import pytest
import torch

from desa2va.training.disentangling.feature_queue import FeatureQueue


def rows(*values):
    return torch.tensor(values, dtype=torch.float32)[:, None].expand(-1, 2)


def kept(queue):
    return sorted(queue.negatives()[0][:, 0].tolist())


def test_oldest_pairs_give_way():
    queue = FeatureQueue(4, 2)
    assert queue.negatives() is None
    queue.push(rows(1, 2, 3), rows(-1, -2, -3))
    assert len(queue) == 3
    queue.push(rows(4, 5), rows(-4, -5))
    assert kept(queue) == [2, 3, 4, 5]
    text, visual = queue.negatives()
    assert torch.equal(text, -visual)  # pairs stay together


def test_the_newest_are_the_last_whatever_the_position():
    queue = FeatureQueue(4, 2)
    queue.push(rows(1, 2, 3), rows(1, 2, 3))
    assert queue.negatives(2)[0][:, 0].tolist() == [2, 3]
    queue.push(rows(4, 5, 6), rows(4, 5, 6))
    assert queue.negatives(3)[0][:, 0].tolist() == [4, 5, 6]
    assert queue.negatives()[0][:, 0].tolist() == [3, 4, 5, 6]


def test_more_than_fits_keeps_the_last():
    queue = FeatureQueue(3, 2)
    queue.push(rows(1, 2, 3, 4, 5), rows(1, 2, 3, 4, 5))
    assert kept(queue) == [3, 4, 5]
    queue.push(rows(), rows())
    assert kept(queue) == [3, 4, 5]


def test_queue_keeps_no_graph_and_no_view():
    """A queue that kept the graph would hold every step's activations; a view would change under later pushes."""
    queue = FeatureQueue(2, 2)
    features = torch.ones(2, 2, requires_grad=True)
    queue.push(features, features)
    text, _ = queue.negatives()
    queue.push(rows(7, 8), rows(7, 8))
    assert not text.requires_grad
    assert text.tolist() == [[1, 1], [1, 1]]


def test_state_round_trip_continues_where_it_stopped():
    """Without the position in the state a resumed queue would overwrite its newest rows first."""
    queue, other = FeatureQueue(3, 2), FeatureQueue(3, 2)
    queue.push(rows(1, 2, 3, 4), rows(1, 2, 3, 4))
    queue.push(rows(5), rows(5))
    other.load_state_dict(queue.state_dict())
    for one in (queue, other):
        one.push(rows(6), rows(6))
    assert kept(queue) == kept(other) == [4, 5, 6]


def test_half_precision_features_are_kept_in_full():
    queue = FeatureQueue(2, 2)
    queue.push(rows(1).bfloat16(), rows(2).bfloat16())
    assert queue.negatives()[0].dtype == torch.float32


def test_a_queue_of_size_zero_stays_empty():
    queue = FeatureQueue(0, 2)
    assert queue.push(rows(1), rows(2))[1].tolist() == [[2, 2]]  # what came is told all the same
    assert queue.negatives() is None


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(O, 2\)"):
        FeatureQueue(4, 2).push(torch.zeros(1, 3), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="size >= 0"):
        FeatureQueue(-1, 2)


def gather(rank):
    """What one of two processes adds and finds."""
    queue = FeatureQueue(8, 3)
    for counts in ((2, 0), (1, 3), (0, 0)):
        start = 10.0 * rank + torch.arange(counts[rank]).float()
        queue.push(start[:, None].expand(-1, 3), -start[:, None].expand(-1, 3))
    text, visual = queue.negatives()
    assert text[:, 0].tolist() == [0.0, 1.0, 0.0, 10.0, 11.0, 12.0]
    assert torch.equal(visual, -text)


def test_two_processes_share_one_queue(in_two_processes):
    """Processes with different numbers of objects, also none, must neither hang nor disagree."""
    in_two_processes(gather)
