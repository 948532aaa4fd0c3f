"""A page to try the model on: one visitor's work, the visitors beside each other, and the layout (`desa2va web`).

What enters: files, words and clicks of a browser. What leaves: pictures with masks, and files to keep. `studio` and
`visitors` know no page and need no further package; `page` knows no tensors. (Engineering; no paper section.)
"""
