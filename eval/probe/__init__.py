"""Does the disentanglement do what it claims? Measurements on any checkpoint; `docs/probe.md` explains the figures.

`features` reads a model; `linear`, `information`, `similarity` and `separability` measure; `training_log` finds the
curves of training; `figure` draws; `probe` puts them together. Only `features` and `probe` know a model.
"""
