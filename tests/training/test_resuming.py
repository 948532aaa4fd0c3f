"""A checkpoint: what lies in it, what of it is read, and that a training goes on from it as if nothing had been."""

import shutil

import numpy as np
import pytest
import torch

from desa2va.training.checkpoints import OBJECTIVE_FILE, newest_checkpoint
from desa2va.training.data.build import open_dataset
from desa2va.training.data.mixture import Mixture
from desa2va.training.data.refshapes import RefShapes
from desa2va.training.data.refshapes.disk import write_refshapes
from desa2va.training.data.sources import open_source
from desa2va.training.data.streams import StreamedDataset
from desa2va.training.state_file import read_state
from desa2va.training.trainer import AUXILIARY_FILE
from tests.training.test_state_file import Payload, same
from tests.training.test_trainer import WEIGHTS, trainer_of


@pytest.fixture(scope="module")
def begun(make_model, processor, tmp_path_factory):
    """A function that trains with the auxiliary networks to a step, from a checkpoint or from the start; and the
    checkpoint of its first step.
    """
    folder = tmp_path_factory.mktemp("begun")
    fields = {"auxiliary": True, "save_steps": 1, "per_device_train_batch_size": 2}

    def train(checkpoint=None, steps=2):
        trainer = trainer_of(
            make_model, processor, folder / "again", {**WEIGHTS, "club": 0.1}, max_steps=steps, **fields
        )
        trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
        return trainer

    train(steps=1)
    return train, (folder / "again" / "checkpoint-1").rename(folder / "checkpoint-1")


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "objective.pt", "auxiliary.pt"])
def test_a_program_in_a_checkpoint_is_refused(begun, tmp_path, name):
    """`torch.load` runs what a file says unless told not to; a checkpoint may be somebody else's."""
    train, checkpoint = begun
    poisoned = shutil.copytree(checkpoint, tmp_path / "checkpoint-1")
    (poisoned / name).with_suffix(".safetensors").unlink(missing_ok=True)
    torch.save({"more": Payload(tmp_path / "ran")}, poisoned / name)
    with pytest.raises(ValueError, match="not read, since it would run code"):
        train(poisoned)
    assert not (tmp_path / "ran").exists()


def test_nothing_of_ours_in_a_checkpoint_is_a_pickle(begun):
    """What is left of torch's own format is transformers', and is read as tensors and plain values alone."""
    _, checkpoint = begun
    pickled = sorted(path.name for path in checkpoint.iterdir() if path.suffix not in (".json", ".safetensors"))
    assert pickled == ["optimizer.pt", "rng_state.pth", "scheduler.pt"]


def test_a_checkpoint_of_an_older_version_goes_on_bit_for_bit(begun, tmp_path):
    """Weights and auxiliary networks lay in files of torch's; such a checkpoint was passed over and removed."""
    train, checkpoint = begun
    old = shutil.copytree(checkpoint, tmp_path / "checkpoint-1")
    for name in (OBJECTIVE_FILE, AUXILIARY_FILE):
        torch.save(read_state(old / name), (old / name).with_suffix(".pt"))
        (old / name).unlink()
    assert newest_checkpoint(tmp_path) == str(old)
    wanted, found = (
        [*trainer.model.state_dict().values(), *trainer.auxiliary.state_dict().values()]
        for trainer in (train(checkpoint), train(old))
    )
    assert all(torch.equal(one, other) for one, other in zip(wanted, found, strict=True))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Four pictures of RefShapes as files."""
    folder = tmp_path_factory.mktemp("files")
    write_refshapes(folder / "shapes", "finetune", splits={"train": 4}, level="easy", progress=False)
    return str(folder / "shapes" / "train.json")


class Stream:
    """The records of a file as a stream."""

    def __init__(self, file):
        self.records = open_source(file).records()

    def shuffled(self, seed, epoch, buffer, reader=0, readers=1):
        order = np.random.default_rng((seed, epoch)).permutation(len(self.records))
        for number in order[reader::readers].tolist():
            yield lambda number=number: self.records[number]


def data_of(kind, file):
    """A data set of four samples, or a stream of them; what is drawn (flips, frames, conversations) included."""
    if kind == "streamed":
        return StreamedDataset(Stream(file), "set", flip=0.5, color=0.5)
    shapes = RefShapes("train", level="full", conversations=2, length=4)
    return Mixture([open_dataset(file, flip=0.5, color=0.5), shapes], [1, 1], 4) if kind == "mixture" else shapes


def whole_state(trainer):
    """Everything that a training carries from step to step, by name."""
    found = {"random": torch.random.get_rng_state()}
    for part in ("model", "auxiliary", "optimizer", "auxiliary_optimizer", "lr_scheduler"):
        for name, value in getattr(trainer, part).state_dict().items():
            found[f"{part}.{name}"] = value
    return found


@pytest.mark.parametrize("kind", ["generated", "mixture", "streamed"])
def test_a_resumed_run_with_workers_ends_bit_for_bit_as_one_that_was_not(make_model, processor, tmp_path, file, kind):
    """In the middle of a second pass, with two data workers, accumulation, and the noise of the discriminators.

    The loader of a stream drew a seed when it began: everything random was another after a resume.
    """
    weights = {**WEIGHTS, "adversarial": 0.1, "club": 0.1, "orthogonality": 0.1}
    fields = {"max_steps": 4, "save_steps": 3, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    fields |= {"dataloader_num_workers": 2, "auxiliary": True, "lr_scheduler_type": "cosine"}
    ends = []
    for name, checkpoint in (("straight", None), ("again", str(tmp_path / "straight" / "checkpoint-3"))):
        trainer = trainer_of(make_model, processor, tmp_path / name, weights, **fields)
        trainer.train_dataset = data_of(kind, file)
        torch.rand(len(ends))  # the second run begins with another random state
        trainer.train(resume_from_checkpoint=checkpoint)
        ends.append(whole_state(trainer))
    assert [name for name, value in ends[0].items() if not same(value, ends[1][name])] == []
