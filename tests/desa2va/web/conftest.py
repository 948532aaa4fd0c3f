"""Visitors of a page around the suite's tiny model."""

import pytest

from desa2va.commands.demo import ASSETS
from desa2va.serving.engine import Engine
from desa2va.serving.limits import Limits
from desa2va.web.visitors import Visitors


@pytest.fixture
def demo():
    """The folder with `scene.png` and `clip.mp4`."""
    return ASSETS / "demo"


@pytest.fixture
def visit(shipped):
    """Makes `Visitors` of the shipped model, within limits; they end with the test."""
    made = []

    def make(**limits):
        granted = Limits(**limits)
        made.append(Visitors(Engine(*shipped, granted.queue), granted))
        return made[-1]

    yield make
    for visitors in made:
        visitors.close()
