"""The version of the training terms: results of one version are no results of another.

Raise it with every change that alters a loss term's value or gradient. An ablation run is filed under it, so what was
trained with the old terms is never taken for finished with the new ones.

1: CLUB had half the gradient of its product term and standardised row by row; the generator played against smoothed
   fake targets; an isolated text branch still learned from the ground truth by its predicted IoU and object score;
   orthogonality saw no object beyond its micro-batch.
2: accumulated micro-batches were another step than one batch: CLUB's statistics had the gradient of the objects of one
   of them and its clamp their sign, `alignment` the variance of their labels, and the power iteration of the
   discriminators' spectral norm went on with each.
3: the terms as docs/method.md states them.
"""

METHOD_VERSION = 3

__all__ = ["METHOD_VERSION"]
