"""Metrics: numpy masks enter, plain figures with standard errors leave. Nothing here knows a model.

`referring`, `generalized` and `video` hold the definitions; the folders wrap them for `evaluate.load(folder)`.
"""
