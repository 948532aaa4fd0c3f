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
    root = Path(desa2va.__file__).resolve().parent.parent
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(program):
        told = tmp_path_factory.mktemp("told")
        words = [program, tmp_path_factory.mktemp("runs"), told / "out", told / "errors"]
        server.stdin.write(json.dumps([str(word) for word in words]) + "\n")
        server.stdin.flush()
        assert server.stdout.readline() == "0\n", (told / "errors").read_text()[-3000:]
        return json.loads((told / "out").read_text().splitlines()[-1])

    yield run
    server.communicate()
