"""The shipped model, once; devices that are only names; and what every scenario of the benchmarks gives on the CPU."""

import copy
import sys
from pathlib import Path

import pytest

import desa2va
from desa2va.modeling_desa2va.tracking import encoder_batches

from .logical_devices import LogicalDevices

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # of `benchmarks`, which is not installed


@pytest.fixture
def devices(monkeypatch):
    """Inside, `cuda` is a name the CPU goes by."""
    monkeypatch.setattr(encoder_batches, "free_bytes", lambda device: None)
    with LogicalDevices() as logical:
        yield logical


@pytest.fixture(scope="session")
def shipped():
    """The shipped model and its processor, on the CPU; not to be changed."""
    return desa2va.load(device="cpu")


@pytest.fixture
def placed(shipped, devices):
    """Copies the shipped model and puts its parts on devices that are only names."""

    def make(**places):
        model = copy.deepcopy(shipped[0])
        for name, device in places.items():
            getattr(model, name).to(device)
        return model, shipped[1]

    return make


@pytest.fixture(scope="session")
def expected(shipped):
    """What a scenario gives on the CPU, made once."""
    known = {}

    def of(scenario):
        if scenario not in known:
            known[scenario] = scenario(*shipped)
        return known[scenario]

    return of
