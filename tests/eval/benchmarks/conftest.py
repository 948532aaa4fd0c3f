"""Runs of benchmarks with an oracle in place of a model."""

import pytest

from desa2va.eval.benchmarks.names import open_benchmark
from desa2va.eval.benchmarks.runner import Run, answer_all, score_run
from tests.eval.benchmarks.layouts import MODEL, Oracle


@pytest.fixture
def evaluate(tmp_path):
    """Answers and scores a benchmark: from its name, the data root and known masks to the report."""

    def evaluate(name, root, known, out="out", model=MODEL, processes=None, **options):
        run = Run(open_benchmark(name), root, tmp_path / out, **options)
        plan = run.plan()
        answerer = known if isinstance(known, Oracle) else Oracle(known)
        return score_run(run, plan, answer_all(run, plan, answerer, model, processes=processes))

    return evaluate
