"""Collecting in several processes and computing in one."""

import json

import numpy as np
import pytest

from desa2va.eval.metrics.davis import DavisSegmentation
from desa2va.eval.metrics.generalized import GeneralizedReferring
from desa2va.eval.metrics.referring import ReferringSegmentation
from desa2va.eval.metrics.video import VideoSegmentation


def samples(count=40):
    rng = np.random.default_rng(0)
    return [tuple(rng.random((2, 2, 9, 11)) < rng.random()) for _ in range(count)]


@pytest.mark.parametrize("make", [ReferringSegmentation, GeneralizedReferring, VideoSegmentation])
def test_processes_in_any_order_give_the_bits_of_one(make):
    """Rows dealt to three processes, one of them read back from JSON. Guards sums that depend on their order."""
    whole, parts = make(), [make() for _ in range(3)]
    for number, pair in enumerate(samples()):
        whole.add(*pair)
        parts[number % 3].add(*pair)
    resumed = make()
    resumed.rows.extend(json.loads(json.dumps(parts[0].rows)))
    resumed.merge(parts[2], parts[1])
    assert resumed.compute() == whole.compute()
    assert len(resumed) == len(whole)


def test_protocols_do_not_mix():
    """Rows are counted by one protocol; joining others would give a figure that no protocol has."""
    with pytest.raises(ValueError, match="one run needs one protocol"):
        ReferringSegmentation(protocol="lisa").merge(ReferringSegmentation())
    with pytest.raises(ValueError, match="one run needs one protocol"):
        ReferringSegmentation().merge(GeneralizedReferring())
    with pytest.raises(ValueError, match="semi-supervised, unsupervised"):
        DavisSegmentation("supervised")


def test_nothing_to_compute():
    with pytest.raises(ValueError, match="no sample was added"):
        GeneralizedReferring().compute()
