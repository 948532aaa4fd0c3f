"""`python -m desa2va` is the command `desa2va`."""

import sys

from desa2va.cli import main

sys.exit(main())
