"""The figures of the report, by hand."""

from desa2va.annotation.quality import quality_report, summarise


def complete(video, number, long, short, masks=10, **fields):
    steps = [{"step": "crop", "text": "x"}, {"step": "check", "text": "yes"}]
    row = {"video": video, "object": number, "status": "complete", "split_key": video, "masks": masks}
    return {**row, "long": long, "short": short, "steps": steps, **fields}


ROWS = [
    complete("a", "1", "A red car, parked.", "the car", review="edit"),
    complete("a", "2", "a red car parked", None, masks=4),
    complete("b", "1", "The man's blue-green hat moves up and down", "the car"),
    {"video": "b", "object": "2", "status": "dropped", "reason": "check: no verdict, but 'x'", "steps": []},
    {"video": "b", "object": "3", "status": "skipped", "reason": "too small: at most 0.033% of a frame, less"},
    {"video": "c", "object": "", "status": "skipped", "reason": "not readable: no frames"},
]
ROWS[3]["steps"] = [{"step": "crop", "text": "y"}, {"step": "check", "text": "x", "dropped": "no verdict, but 'x'"}]


def test_the_table_of_the_paper():
    """Two videos, three objects, 24 masks, (4 + 4 + 8) / 3 words; all for training."""
    table = quality_report(ROWS, 0.0)["table"]
    expected = {"videos": 2, "objects": 3, "expressions": 3, "short_expressions": 2, "masks": 24, "mean_length": 5.33}
    assert table["train"] == table["all"] == expected
    assert table["validation"]["mean_length"] is None


def test_rates_and_reasons():
    report = quality_report(ROWS, 0.0)
    assert report["masklets"] == {"complete": 3, "dropped": 1, "skipped": 2}
    assert report["steps"]["check"] == {"answers": 4, "kept": 0.75, "dropped": {"no verdict": 1}}
    assert report["steps"]["video"]["kept"] is None
    assert report["reasons"]["skipped"] == {"too small": 1, "not readable": 1}
    assert report["reasons"]["dropped"] == {"check no verdict": 1}
    assert report["reviewed"] == {"edit": 1}
    assert "dropped 1: check no verdict" in summarise(report)
    assert summarise(quality_report([], 0.0)).count("nothing was answered") == 1


def test_duplicates_and_words():
    """Case and punctuation make no difference; two of one video point at nothing."""
    report = quality_report(ROWS, 0.0)
    assert report["duplicates"]["long"]["within_a_video"] == 2
    assert report["duplicates"]["long"]["across_videos"] == 0
    assert report["duplicates"]["short"]["across_videos"] == 2
    assert report["expressions"]["long"]["words"] == {"mean": 5.33, "median": 4, "least": 4, "most": 8}
    assert "expressions like another one of their video: 2 long equal, 2 near; 0 short equal, 0 near" in summarise(
        report
    )
