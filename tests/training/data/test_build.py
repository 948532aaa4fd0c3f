"""How long a data set is, and what its second epoch holds."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from desa2va.training.arguments import DataArguments
from desa2va.training.data.build import build_dataset, build_validation


def arguments(max_steps=-1):
    return SimpleNamespace(max_steps=max_steps, train_batch_size=2, gradient_accumulation_steps=3, world_size=2)


@pytest.fixture
def photos(tmp_path):
    """A fine-tune file of three pictures with three expressions each, of which a sample holds one."""
    records = []
    for number in range(3):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(tmp_path / f"{number}.png")
        box = [[[2, 2, 20, 2, 20, 20, 2, 20]]]
        records.append({"image": f"{number}.png", "text": ["a", "b", "c"], "mask": box * 3})
    path = tmp_path / "photos.json"
    path.write_text(json.dumps(records))
    return str(path)


def test_a_file_is_as_long_as_it_is(photos):
    assert len(build_dataset(DataArguments(dataset=photos), arguments())) == 3
    assert len(build_dataset(DataArguments(dataset=photos, options={"repeat": 4}), arguments())) == 12


@pytest.mark.parametrize(("options", "length"), [({}, 10_000), ({"length": 50}, 50)])
def test_an_epoch_of_refshapes_is_what_its_options_say(options, length):
    """It had 1,024 samples, whatever was asked for."""
    assert len(build_dataset(DataArguments(options=options), arguments())) == length


def test_with_steps_refshapes_is_as_long_as_the_run():
    assert len(build_dataset(DataArguments(), arguments(max_steps=500))) == 500 * 2 * 3 * 2


def test_a_mixture_reads_its_longest_file_once(photos):
    """Three records at a share of a quarter take twelve samples; a part without end goes on as long."""
    parts = [{"dataset": photos, "share": 1}, {"dataset": "refshapes", "share": 3}]
    mixture = build_dataset(DataArguments(parts=parts), arguments())
    assert len(mixture) == 12
    assert len({mixture[index].name for index in range(12)}) == 12
    longer = [*parts, {"dataset": photos, "share": 4, "options": {"repeat": 20}}]
    assert len(build_dataset(DataArguments(parts=longer), arguments())) == 120
    endless = [
        {"dataset": "refshapes", "options": {"length": 30}},
        {"dataset": "refshapes", "options": {"length": 10}},
    ]
    assert len(build_dataset(DataArguments(parts=endless), arguments())) == 60


def test_a_mixture_by_repeats_is_as_long_as_its_parts_together(photos):
    """Three records read four times and eight scenes read half; temperature changes how often, not how much."""
    parts = [{"dataset": photos, "repeats": 4}, {"dataset": "refshapes", "repeats": 0.5, "options": {"length": 8}}]
    mixture = build_dataset(DataArguments(parts=parts), arguments())
    assert (len(mixture), mixture.counts.tolist()) == (16, [12, 4])
    flat = build_dataset(DataArguments(parts=parts, temperature=1e9), arguments())
    assert (len(flat), flat.counts.tolist()) == (16, [8, 8])
    steps = build_dataset(DataArguments(parts=parts), arguments(max_steps=400))
    assert steps.counts.tolist() == [3600, 1200]


def test_a_second_epoch_of_refshapes_goes_on_where_the_first_ended():
    """Three epochs were three times the same pictures."""
    data = build_dataset(DataArguments(options={"length": 4}), arguments())
    longer = build_dataset(DataArguments(options={"length": 8}), arguments())
    data.set_epoch(1)
    for index in range(4):
        assert data[index].name == longer[4 + index].name
        assert np.array_equal(data[index].frames, longer[4 + index].frames)


def test_a_second_epoch_of_a_file_draws_other_expressions(photos):
    data = build_dataset(DataArguments(dataset=photos, options={"conversations": 1}), arguments())
    drawn = []
    for epoch in range(6):
        data.set_epoch(epoch)
        drawn.append(tuple(data[index].conversations[0].labels for index in range(3)))
    assert len(set(drawn)) > 1
    data.set_epoch(0)
    assert tuple(data[index].conversations[0].labels for index in range(3)) == drawn[0]


def test_a_mixture_tells_its_parts_the_epoch():
    parts = [{"dataset": "refshapes", "options": {"length": 4}}, {"dataset": "refshapes", "options": {"length": 4}}]
    mixture = build_dataset(DataArguments(parts=parts), arguments())
    first = [mixture[index].name for index in range(len(mixture))]
    mixture.set_epoch(1)
    assert not set(first) & {mixture[index].name for index in range(len(mixture))}


def test_two_worlds_in_a_mixture_are_two():
    """Both parts began with scene 0 of one world: half of what was learned came twice."""
    parts = [{"dataset": "refshapes", "options": {"length": 4}}] * 2
    mixture = build_dataset(DataArguments(parts=parts), arguments())
    pictures = {mixture[index].frames.tobytes() for index in range(len(mixture))}
    assert len(pictures) == len(mixture) == 8


def test_validation_is_of_another_split(photos):
    assert build_validation(DataArguments()) is None
    validation = build_validation(DataArguments(validation={"dataset": "refshapes"}))
    assert len(validation) == 256
    assert validation[0].name == "refshapes/validation/0"
    assert len(build_validation(DataArguments(validation={"dataset": photos}))) == 3
