"""Metrics: numpy masks, texts and answers enter, plain figures leave. Nothing here knows a model.

Modules hold the definitions, a `Collected` class each and pure functions; the folders wrap them for
`evaluate.load(folder)`.
"""
