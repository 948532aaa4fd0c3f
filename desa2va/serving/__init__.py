"""The model behind HTTP: one engine, its sessions, and the routes (`desa2va serve`).

What enters: requests with pictures and videos. What leaves: masks as run-length codes, boxes, scores, words, timings.
`engine`, `media`, `sessions` and `limits` know no HTTP and need no further package; the routes know no tensors.
(Engineering; no paper section.)
"""
