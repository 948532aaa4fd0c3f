"""Published figures as data: every one has a source, and what it is compared with exists."""

import json

import pytest

from desa2va.eval.benchmarks.names import BENCHMARKS
from desa2va.eval.reports.published import FILE, load_published, missing_figures, published_size

CONTENT = json.loads(FILE.read_text(encoding="utf-8"))
UNITS = {"percent", "points", "points of 3", "seconds", "tokens"}


def test_every_source_is_named_with_its_address_and_is_used():
    """A figure whose origin is not told can not be looked up."""
    for name, source in CONTENT["sources"].items():
        assert set(source) == {"short", "title", "url", "read"}, name
        assert all(source.values()), name
        assert source["url"].startswith("https://"), name
    assert set(CONTENT["sources"]) == {table["source"] for table in CONTENT["tables"]}


@pytest.mark.parametrize("table", CONTENT["tables"], ids=lambda table: f"{table['source']}-{table['table']}")
def test_tables_have_the_shape_that_is_read(table):
    """A misspelled key would drop what it says without a word."""
    assert set(table) == {"source", "table", "caption", "columns", "rows"}
    for column in table["columns"]:
        assert {"as", "benchmark", "metric"} <= set(column) <= {"as", "benchmark", "metric", "unit", "assumed"}
        assert column["benchmark"] is None or column["benchmark"] in BENCHMARKS
        assert column.get("unit", "percent") in UNITS
    for row in table["rows"]:
        assert {"model", "values"} <= set(row) <= {"model", "values", "variant", "generation"}
        assert len(row["values"]) == len(table["columns"])
        assert any(value is not None for value in row["values"]), row["model"]
    rows = [(row["model"], row.get("variant"), row.get("generation")) for row in table["rows"]]
    assert len(set(rows)) == len(rows)


def test_percentages_are_percentages():
    """A fraction among them would look like a very bad model."""
    for figure in load_published():
        if figure.unit == "percent":
            assert 0 <= figure.value <= 100, figure
            assert figure.value == round(figure.value, 1), figure


def test_figures_of_the_papers_are_what_their_text_says():
    """Against the text of both papers: section 4.2 of DeSa2VA, section 4.1 of Sa2VA and its tables."""
    found = {(f.source, f.who, f.benchmark, f.metric): f.value for f in load_published()}
    assert found["DeSa2VA, table 1", "DeSa2VA-4B", "refcoco+-unc-val", "ciou"] == 77.8
    assert found["DeSa2VA, table 1", "DeSa2VA-4B", "revos-valid", "overall.jf"] == 70.1
    assert found["Sa2VA, table 6", "Sa2VA-8B (InternVL2)", "ref_davis17-valid", "expression.jf"] == 75.2
    assert found["Sa2VA, table 8", "Sa2VA-4B (InternVL2.5)", "mevis-valid_u", "jf"] == 55.9
    assert found["Sa2VA-i, table Performance Highlights", "Sa2VA-4B (InternVL2.5)", "mevis-valid", "jf"] == 46.4
    assert found["Sa2VA, table 10", "Sa2VA-8b", "ref_sav-valid", "overall.jf"] == 50.0
    assert (
        found["Sa2VA, table 6", "Sa2VA-8B (InternVL2)", "video_mme-without_subtitles", "vlmevalkit.accuracy"] == 52.1
    )
    assert found["Sa2VA, table 6", "Sa2VA-8B (InternVL2)", "mmbench_video-test", "coarse_all.Overall"] == 1.34


def test_every_group_of_works_that_is_known_to_be_strong_is_there():
    sources = {figure.source.split(",")[0] for figure in load_published()}
    assert {"DeSa2VA", "Sa2VA", "Sa2VA-i", "X-SAM", "X2SAM", "VideoSEG-O3", "UniPixel", "LENS"} <= sources
    assert any(figure.model.startswith("SAM 3 agent") for figure in load_published())
    tables = {table["table"] for table in CONTENT["tables"] if table["source"] == "sa2va"}
    assert tables == {str(number) for number in range(6, 21)}


def test_what_was_not_found_says_why():
    assert missing_figures()
    assert all(entry["what"] and entry["why"] for entry in missing_figures())


def test_sizes_are_of_known_benchmarks():
    assert set(CONTENT["sizes"]) <= set(BENCHMARKS)
    assert published_size("refcoco-unc-val") == 10834
    assert published_size("gcg-test") is None


def test_a_wrong_file_is_named(tmp_path):
    wrong = {**CONTENT, "tables": [{**CONTENT["tables"][0], "source": "nobody"}]}
    path = tmp_path / "published.json"
    path.write_text(json.dumps(wrong))
    with pytest.raises(ValueError, match="table 1 names the source 'nobody', which is not listed"):
        load_published(path)
    path = tmp_path / "rows.json"
    rows = [{"model": "M", "values": [1.0]}]
    path.write_text(json.dumps({**CONTENT, "tables": [{**CONTENT["tables"][0], "rows": rows}]}))
    with pytest.raises(ValueError, match="M has 1 values for 6 columns"):
        load_published(path)
