"""`python -m desa2va.segment`: the command `desa2va segment`, as launchers start it.

    accelerate launch -m desa2va.segment pictures/ "the red circle" --each --out out

Each process takes its share of the pictures and videos; no process waits for another. (Engineering; no paper section.)
"""

import sys

from desa2va.cli import main

if __name__ == "__main__":
    sys.exit(main(["segment", *sys.argv[1:]]))
