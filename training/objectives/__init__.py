"""One file per training objective: a batch in, named loss terms out. Weights meet terms in `training/trainer.py`
alone.
"""
