"""Ablations: grids of short trainings, scored and compared."""
