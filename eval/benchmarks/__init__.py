"""Published benchmarks: what each asks and how each scores, over one runner.

`names` lists them, one module per family says what is asked and scored; `runner` answers and scores; `questions` is
what is asked, `answer_file` keeps what was answered, `asking` asks a model, `submission` writes what a server scores.
"""
