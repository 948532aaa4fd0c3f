"""The order of an epoch: deterministic, whole, and like with like where asked for."""

import numpy as np
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from torch.utils.data import BatchSampler

from desa2va.training.data.mixture import Mixture
from desa2va.training.data.records import Dialogue, Record
from desa2va.training.data.sampling import WINDOW, ReadingOrder, sample_cost


def records(count, seed=0):
    """Text alone, pictures and videos with texts of any length."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        dialogue = Dialogue("chat", (("a" * int(rng.integers(1, 900)), "b"),))
        frames = int(rng.choice([0, 1, 9]))
        paths = ("x",) * bool(frames)
        made.append(Record(str(number), paths, frames > 1, (4, 4) if frames else (0, 0), frames, (dialogue,), "set"))
    return made


class Data:
    def __init__(self, count):
        self.records, self.num_frames, self.conversations = records(count), 5, None

    def __len__(self):
        return len(self.records)

    def set_epoch(self, epoch):
        pass


def order_of(data, epoch=0, **options):
    sampler = ReadingOrder(data, seed=0, **options)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_an_epoch_holds_everything_once_in_an_order_of_its_own():
    data = Data(333)
    for group in (1, 8):
        order = order_of(data, group=group)
        assert sorted(order) == list(range(333))
        assert order == order_of(data, group=group)
        assert order != order_of(data, epoch=1, group=group)


def test_less_than_a_group_is_read_too():
    assert sorted(order_of(Data(3), group=8)) == [0, 1, 2]


def test_a_group_costs_about_the_same_and_the_dearest_comes_first():
    """Guards against batches that wait for one long video among short texts."""
    data, group = Data(16 * WINDOW), 8
    costs = np.array([sample_cost(data, index) for index in order_of(data, group=group)]).reshape(-1, group)
    mixed = np.array([sample_cost(data, index) for index in order_of(data)]).reshape(-1, group)
    assert costs.max(axis=1).sum() < 0.75 * mixed.max(axis=1).sum()
    assert costs[0].max() == costs[:WINDOW].max()
    steps = costs[:WINDOW].mean(axis=1)
    assert not np.array_equal(steps, np.sort(steps)[::-1])  # cost and time do not go together


def test_grouping_keeps_the_shares_of_a_mixture():
    """A sample moves within its window only: no epoch begins with all videos."""
    mixture = Mixture([Data(50), Data(70)], [3, 1], 64 * WINDOW)
    order = np.array(order_of(mixture, epoch=1, group=8))
    parts = np.array([mixture.locate(int(index))[0] for index in order]).reshape(-1, 8 * WINDOW)
    assert (np.abs((parts == 1).sum(axis=1) - 2 * WINDOW) <= 3).all()
    assert order_of(mixture, epoch=1) == list(range(64 * WINDOW))


def test_processes_and_a_resumed_run_read_one_order():
    """As accelerate deals batches out to two processes, from the start and from step 5 on."""
    mixture = Mixture([Data(50), Data(70)], [3, 1], 160)
    whole = np.array(order_of(mixture, epoch=2, group=8)).reshape(-1, 8)

    def batches(process, skipped):
        order = ReadingOrder(mixture, seed=0, group=8)
        order.set_epoch(2)
        shard = BatchSamplerShard(BatchSampler(order, 4, False), num_processes=2, process_index=process)
        return np.array(list(SkipBatchSampler(shard, skipped)))

    for skipped in (0, 5):
        both = np.concatenate([batches(process, skipped) for process in range(2)], axis=1)
        assert np.array_equal(both, whole[skipped:])


def test_what_a_sample_costs():
    """Alternatives count once, frames as many as are shown, and a data set that is no file costs what is unknown."""
    texts = tuple(Dialogue("chat", (("a" * 30, "b" * 10),), group=0) for _ in range(5))
    data = Data(1)
    data.records = [Record("r", ("x",), False, (4, 4), 1, texts, "set")]
    assert sample_cost(data, 0) == 350 + 10
    data.records = [Record("r", ("x",), True, (4, 4), 9, texts[:1], "set")]
    assert sample_cost(data, 0) == 5 * 350 + 10
    assert sample_cost([1, 2], 0) == 0
