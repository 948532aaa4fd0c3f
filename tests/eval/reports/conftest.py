"""A finished run over RefCOCO's layout, whose scores are known."""

import pytest

from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.runner import Run, answer_all, score_run
from desa2va.eval.reports.opened import read_report
from tests.eval.benchmarks.layouts import MODEL, Oracle, box, write_refcoco

PICTURES = {
    9: [(1, 1, ["the box", "left <script>alert(1)</script> | one"]), (2, 2, ["the tall one"])],
    11: [(3, 2, ["that"])],
    12: [(4, 3, ["corner"])],
    13: [(5, 1, ["box again"])],
}
# IoU in the order of samples: 1, 0 (no answer), 600 / 700, 0 (no answer), 1, 36 / 464
KNOWN = {"1/10": box(1), "2/20": [box(2), box(3)], "4/40": box(3), "5/50": box(3)}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """`(data, folder)` of a run with six samples, whose masks an oracle knew."""
    root = tmp_path_factory.mktemp("run")
    data = write_refcoco(root / "data", PICTURES)
    run = Run(open_benchmark("refcoco-unc-val"), data, root / "out", batch_size=2)
    plan = run.plan()
    score_run(run, plan, answer_all(run, plan, Oracle(KNOWN), MODEL, {"model": "oracle", "data": str(data)}))
    return data, root / "out"


@pytest.fixture
def report(run_folder):
    return read_report(run_folder[1])
