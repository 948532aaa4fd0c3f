"""The whole report on features that were made up: a perfect separation, none, and swapped roles."""

import functools

import pytest
import torch

from desa2va.eval.probe.features import TEXTUAL_FACTORS, Features
from desa2va.eval.probe.measures import difference, measure, num_measures


def made_up(roles, scenes=80):
    """`x` writes every factor; `h_t` and `h_v` keep the words, the place, or both, plus noise."""
    draw = torch.Generator().manual_seed(0)
    count = 4 * scenes
    classes = {name: torch.randint(0, len(names), (count,), generator=draw) for name, names in TEXTUAL_FACTORS.items()}
    values = {name: torch.rand(count, generator=draw).double() for name in ("center_x", "center_y")}
    names = ("log_area", "angle", "num_objects")
    values |= {name: torch.randn(count, generator=draw).double() for name in names}
    written = [torch.nn.functional.one_hot(classes[name], len(names)) for name, names in TEXTUAL_FACTORS.items()]
    parts = {"words": torch.cat(written, dim=1).double(), "place": torch.stack([*values.values()], dim=1)}
    parts["place"][:, :2] *= 5
    parts["both"] = torch.cat([parts["words"], parts["place"]], dim=1)

    def prompt(role):
        rows = parts[role] @ torch.randn(parts[role].shape[1], 24, generator=draw).double()
        return rows + 0.05 * torch.randn(count, 24, generator=draw).double()

    states = {"x": prompt("both"), "h_t": prompt(roles[0]), "h_v": prompt(roles[1])}
    states |= {"h_l": parts["words"] @ torch.randn(16, 24, generator=draw).double(), "V": prompt("both")}
    return Features(states, classes, values, torch.arange(count) // 4, torch.arange(count) % 4)


@functools.cache
def measured(*roles):
    """The report on `made_up(roles)`, not to be changed, and the progress it told."""
    done = []
    return measure(made_up(roles), progress=done.append), done


@pytest.mark.parametrize(
    ("roles", "expected"), [(("words", "place"), 1), (("both", "both"), 0), (("place", "words"), -1)]
)
def test_selectivity_knows_who_tells_what(roles, expected):
    """The two figures people will quote."""
    report, _ = measured(*roles)
    assert report["selectivity"]["textual"] == pytest.approx(expected, abs=0.15)
    assert report["selectivity"]["visual"] == pytest.approx(expected, abs=0.15)


def test_a_separated_model_in_every_measure():
    """What a reader would conclude from each table has to agree."""
    report, done = measured("words", "place")
    assert sum(done) == num_measures()
    color = report["probes"]["textual"]["color"]
    assert color["h_t"]["balanced_accuracy"] > 0.95
    assert color["h_v"]["balanced_accuracy"] < 0.3
    assert report["explained"]["h_t"]["words"]["r2"] > 0.9 > 0.1 > report["explained"]["h_t"]["place"]["r2"]
    assert report["explained"]["x"]["both"]["r2"] > report["explained"]["x"]["words"]["r2"] + 0.05
    assert report["information"]["components"]["2"]["p"] > 0.05
    assert abs(report["information"]["predicted"]["h_v from h_t"]["r2"]) < 0.15
    assert report["separability"]["h_t / h_v"]["accuracy"] > 0.9
    assert abs(report["similarity"]["cka"]["h_t / h_v"]) < 0.1


def test_shared_information_is_seen():
    """Both prompts write everything: the second thermometer must rise."""
    report, _ = measured("both", "both")
    assert report["information"]["components"]["2"]["p"] < 0.05
    assert report["information"]["predicted"]["h_v from h_t"]["r2"] > 0.8


def test_without_a_textual_prompt():
    """Mode `sa2va`: probes of what there is, no figure of what there is not."""
    features = made_up(("words", "place"))
    for name in ("h_t", "h_l"):
        del features.states[name]
    report = measure(features)
    assert set(report["probes"]["textual"]["color"]) == {"x", "h_v"}
    assert report["information"] is None
    assert report["selectivity"] == {"textual": None, "visual": None}
    assert set(report["separability"]) == {"V / h_v"}
    assert set(report["similarity"]["cka"]) == {"h_v / V"}
    assert report["similarity"]["cosine"] == {}


def test_too_little_is_an_error():
    features = made_up(("words", "place"), scenes=19)
    with pytest.raises(ValueError, match="at least 20 scenes with 40 objects, got 19 with 76"):
        measure(features)
    with pytest.raises(ValueError, match="got 0 with 0"):
        measure(features.select(torch.zeros(0, dtype=torch.long)))


def test_difference_subtracts_figures_only():
    """A difference of errors or of seeds means nothing; what one side lacks is left out."""
    one = {"a": {"r2": 0.75, "se": 0.1}, "notes": ["x"], "b": None, "c": {"d": 1}, "objects": {"rows": 3}}
    two = {"a": {"r2": 0.5, "se": 0.2}, "notes": ["y"], "b": {"e": 1}, "objects": {"rows": 3}}
    assert difference(one, two) == {"a": {"r2": 0.25}}
