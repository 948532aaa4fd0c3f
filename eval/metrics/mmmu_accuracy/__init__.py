"""`evaluate.load` finds the metric of this folder in the script of the same name."""
