"""Programs beside the tests that train in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import desa2va


@pytest.fixture(scope="session")
def run_program(tmp_path_factory):
    """`run_program(path)`: runs a program with an empty folder, returns the JSON that it prints last."""

    def run(program):
        root = Path(desa2va.__file__).resolve().parent.parent
        done = subprocess.run(
            [sys.executable, str(program), str(tmp_path_factory.mktemp("runs"))],
            env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout.splitlines()[-1])

    return run
