"""Forks the programs beside the tests from one process, so that what a training imports is paid for once.

Reads lines of JSON: a program, its folder, and the files for what it prints and for its errors; answers each with the
exit code.
"""

import gc
import json
import os
import re
import runpy
import sys
import traceback
from pathlib import Path

import torch

from desa2va.flat_export import collect_flat_sources
from desa2va.training import train  # noqa: F401  (what it brings along is all that matters here)

re._MAXCACHE = 10_000  # see `tests/conftest.py`
# A child makes torch's pool of threads anew. The threads that load a model would race for it: "Invalid thread pool!".
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def forked(program, folder, out, errors):
    """The exit code of a program, run in a child."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for place, number in ((out, 1), (errors, 2)):
                os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT), number)
            sys.argv[:] = [program, folder]
            sys.path.insert(0, str(Path(program).parent))
            runpy.run_path(program, run_name="__main__")
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for entry in ("modeling_desa2va.modeling_desa2va", "processing.processing_desa2va"):
        collect_flat_sources(f"desa2va.{entry}")  # remembered for every model that is saved
    gc.freeze()  # every training collects garbage; the imports are none
    for line in sys.stdin:
        sys.stdout.write(f"{forked(*json.loads(line))}\n")
        sys.stdout.flush()
