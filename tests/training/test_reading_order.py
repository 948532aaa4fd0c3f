"""What a training reads, through the trainer: whole epochs in the order asked for, resumed where it stopped."""

import numpy as np
import torch
from torch import nn

from desa2va.training.arguments import DeSa2VATrainingArguments
from desa2va.training.data.mixture import Mixture
from desa2va.training.data.records import Dialogue, Record
from desa2va.training.trainer import DeSa2VATrainer


class Recorded(nn.Module):
    """Learns one number and writes down what it reads."""

    label_reader = None

    def __init__(self):
        super().__init__()
        self.weight, self.read = nn.Parameter(torch.zeros(())), []

    def forward(self, number, labels, mask_labels):
        self.read.append(tuple(number.tolist()))
        return {"terms": {"language": self.weight * 1.0}}

    def end_step(self):
        pass


class Numbers:
    """Texts of any length; a sample says which one, of which pass."""

    conversations, num_frames = None, 5

    def __init__(self, start, count):
        self.start, self.epoch = start, 0
        lengths = np.random.default_rng(start).integers(1, 900, count)
        turns = [(("a" * int(length), "b"),) for length in lengths]
        self.records = [Record("r", (), False, (0, 0), 0, (Dialogue("chat", turn),), "set") for turn in turns]

    def __len__(self):
        return len(self.records)

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, index):
        return 1000 * self.epoch + self.start + index


def collate(numbers):
    return {"number": torch.tensor(numbers), "labels": torch.zeros(len(numbers), 2).long(), "mask_labels": []}


def trained(folder, resume=None, parts=True, **fields):
    arguments = DeSa2VATrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        num_train_epochs=3,
        save_steps=8,
        use_cpu=True,
        disable_tqdm=True,
        **fields,
    )
    data = Mixture([Numbers(0, 5), Numbers(100, 9)], [1, 2], 12) if parts else Numbers(0, 12)
    model = Recorded()
    trainer = DeSa2VATrainer(model=model, args=arguments, train_dataset=data, data_collator=collate)
    trainer.train(resume_from_checkpoint=resume)
    return model.read


def test_a_mixture_keeps_its_shares_and_a_resumed_run_its_order(tmp_path):
    """Guards the second epoch, and a run that is resumed in it: with workers, which hold copies of the data."""
    read = trained(tmp_path / "a", dataloader_num_workers=1)
    assert len(read) == 18
    numbers = np.array(read).reshape(3, 12)
    assert ((numbers % 1000 < 100).sum(axis=1) == 4).all()
    assert len(set(numbers.ravel().tolist())) == 36
    assert trained(tmp_path / "b", str(tmp_path / "a" / "checkpoint-8")) == read[8:]


def test_like_with_like_reads_everything_and_resumes(tmp_path):
    """`group_by_length` asked for a length of every sample, which has none."""
    fields = {"train_sampling_strategy": "group_by_length", "parts": False}
    read = trained(tmp_path / "a", **fields)
    assert all(
        sorted(number % 1000 for batch in epoch for number in batch) == list(range(12)) for epoch in (read[:6],)
    )
    assert trained(tmp_path / "b", str(tmp_path / "a" / "checkpoint-8"), **fields) == read[8:]
    lengths = [len(record.dialogues[0].turns[0][0]) for record in Numbers(0, 12).records]
    spread = [abs(lengths[a % 1000] - lengths[b % 1000]) for a, b in read[:6]]
    assert sum(spread) == sum(a - b for a, b in zip(*[iter(sorted(lengths, reverse=True))] * 2, strict=True))
