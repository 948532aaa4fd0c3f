"""Words of the command line: numbers have bounds, names have a nearest neighbour, errors are one line."""

import argparse

import pytest

from desa2va.argument_types import Parser, integer, named, unknown_name
from desa2va.cli import build_parser, main


def commands(parser):
    """The parser of every command, with those of its parts."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for part in action.choices.values():
                yield from commands(part)


def test_no_command_takes_a_number_without_bounds_or_a_bare_list_of_names():
    """`--jobs 0` hung, and a misspelled split was scored: an option of tomorrow must not bring that back."""
    bare = [
        f"{parser.prog} {action.dest}"
        for parser in commands(build_parser())
        for action in parser._actions
        if action.type in (int, float) or (action.choices and not isinstance(action, argparse._SubParsersAction))
    ]
    assert bare == []
    assert all(isinstance(parser, Parser) for parser in commands(build_parser()))


@pytest.mark.parametrize("text", ["0", "-3", "1001", "9" * 5000, "1.5", "", "many", "nan"])
def test_numbers_out_of_bounds_are_one_line(text):
    """Also those that Python refuses to read for their length."""
    with pytest.raises(argparse.ArgumentTypeError, match="is no whole number of at least 1 and at most 1000") as told:
        integer(1, 1000)(text)
    assert len(str(told.value)) < 120


def test_numbers_within_bounds():
    assert [integer(0)("0"), integer(1, 1000)("1000"), integer(-5, -1)("-3")] == [0, 1000, -3]


def test_the_nearest_name_is_told():
    read = named("train", "validation", "test")["type"]
    assert read("validation") == "validation"
    with pytest.raises(argparse.ArgumentTypeError, match=r"'tset' is unknown; did you mean 'test'\?"):
        read("tset")
    assert unknown_name("qqqq", ["a", "b"]) == "'qqqq' is unknown; known are a, b"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["eval", "refshapes", "--split", "tset"], "did you mean 'test'?"),
        (["eval", "refshape"], "did you mean 'refshapes'?"),
        (["eval", "refshapes", "--level", "esay"], "did you mean 'easy'?"),
        (["eval", "refshapes", "--limit", "0"], "at least 1"),
        (["eval", "refshapes", "--batch-size", "100000"], "at most 4096"),
        (["probe", "--split", "tests"], "did you mean 'test'?"),
        (["ablate", "baselin"], "did you mean 'baseline'?"),
        (["ablate", "baseline", "--jobs", "0"], "at least 1"),
        (["ablate", "baseline", "--jobs", "-1"], "at least 1"),
        (["data", "refshapes", "--out", "x", "--split", "../../esc"], "'../../esc' is unknown"),
        (["data", "refshapes", "--out", "x", "--split", "tran"], "did you mean 'train'?"),
        (["data", "refshapes", "--out", "x", "--format", "refcok"], "did you mean 'refcoco'?"),
        (["segment", "PICTURE", "it", "--strategy", "memmory"], "did you mean 'memory'?"),
        (["segment", "PICTURE", "it", "--max-new-tokens", "9" * 5000], "at most 131072"),
        (["segment", "PICTURE", "it", "--dtype", "float"], "did you mean 'float32'?"),
        (["segment", "PICTURE", "it", "--device", "foo"], "this machine has cpu"),
        (["segment", "caf\udce9.png", "it"], "is not UTF-8"),
        (["segment", "PICTURE", "it", "--out", "caf\udce9"], "is not UTF-8"),
        (["segment", "PICTURE", "it", "--out", ""], "the working directory"),
        (["ablate", "baseline", "--report-only", "--out", "new"], "no run of plan 'baseline' is finished in new"),
        (["segment"], "INPUT, WHAT"),
        (["segmnet"], "segment"),
    ],
)
def test_wrong_words_are_one_line_before_any_work(words, told, picture, tmp_path, monkeypatch, capsys):
    """Each of them hung, was scored, wrote outside its folder, or was told after the work."""
    monkeypatch.chdir(tmp_path)
    assert main([str(picture) if word == "PICTURE" else word for word in words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert told in lines[0]
    assert list(tmp_path.iterdir()) == []
