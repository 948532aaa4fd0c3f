"""This model inside other people's harnesses: `lmms_manifest` is found by lmms-eval, `lmms_model` answers its tasks.

`replies` turns results into what tasks read: words, run-length codes with boxes and scores, or tracks of points.
"""
