"""How programs end: one line for what a user or the machine did, a traceback for what this package did."""

import io
import os
import signal
import sys
import zipfile

import pytest
import torch
import yaml
from safetensors import SafetensorError

from desa2va.program import error_line, run_program


def say(text):
    """Work that prints."""
    return lambda: sys.stdout.write(text) and None


def fail(error):
    """Work that raises."""

    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("limit=0\n must be  at least 1"), "limit=0 must be at least 1"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError(13, "Permission denied", "out/a.png"), "out/a.png: Permission denied"),
        (FileNotFoundError("there is no file x"), "there is no file x"),
        (ImportError("pip install it"), "pip install it"),
        (RuntimeError("operator torchvision::nms does not exist"), "`desa2va doctor` says which do not belong"),
        (yaml.YAMLError("line 3"), "line 3"),
        (SafetensorError("I/O error: No space left on device"), "I/O error: No space left on device"),
        (zipfile.BadZipFile("no zip"), "no zip"),
        (torch.OutOfMemoryError("CUDA out of memory."), "CUDA out of memory.; free some memory"),
        (MemoryError(), "MemoryError; free some memory"),
        (RuntimeError("[enforce fail] can't allocate memory: you tried"), "can't allocate memory"),
        (ValueError("x" * 10_000), "x" * 600 + " ..."),
    ],
)
def test_what_a_request_or_the_machine_causes_is_one_line(error, line, capsys):
    """A traceback, or forty lines of a library's report, tell a user nothing."""
    assert run_program("desa2va segment", fail(error)) == 2
    told = capsys.readouterr().err
    assert told.startswith("desa2va segment: ")
    assert line in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "error", [KeyError("codes"), AttributeError("no close"), IndexError(3), RuntimeError("shapes"), AssertionError()]
)
def test_a_fault_of_this_package_keeps_its_traceback(error):
    """Told in one line it would look like the user's fault, and nobody could mend it."""
    assert error_line(error) is None
    with pytest.raises(type(error)):
        run_program("desa2va segment", fail(error))


@pytest.mark.parametrize("way", ["option", "variable"])
def test_debug_lets_everything_through(way, monkeypatch):
    """Programs of `accelerate launch` have no option for it."""
    if way == "variable":
        monkeypatch.setenv("DESA2VA_DEBUG", "1")
    with pytest.raises(ValueError, match="no"):
        run_program("desa2va segment", fail(ValueError("no")), debug=way == "option")


@pytest.mark.parametrize(
    ("number", "line"), [("SIGINT", "interrupted"), ("SIGTERM", "ended by SIGTERM"), ("SIGHUP", "ended by SIGHUP")]
)
def test_signals_unwind(number, line, capsys):
    """SIGTERM kills without a clean-up by default: hidden folders stayed behind. The handlers must go again."""
    number = getattr(signal, number)
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before, cleaned = signal.signal(number, usual), []  # under nohup it would be ignored, and waited for for ever

    def work():
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            cleaned.append(True)

    try:
        assert run_program("desa2va segment", work) == 128 + number
        assert signal.getsignal(number) == usual
    finally:
        signal.signal(number, before)
    assert cleaned == [True]
    assert line in capsys.readouterr().err


def test_an_ignored_hangup_stays_ignored():
    """`nohup desa2va ...` must outlive its terminal."""
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_program("desa2va segment", lambda: os.kill(os.getpid(), signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, usual)


def test_an_ascii_terminal_shows_what_it_can(monkeypatch):
    """`.872 ± .010` on a terminal without the sign ended an evaluation of an hour."""
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    assert run_program("desa2va eval", say(".872 ± .010\n")) == 0
    assert shown.getvalue() == b".872 \\xb1 .010\n"


@pytest.mark.parametrize(("target", "code"), [("/dev/full", 2), ("a closed pipe", 141)])
def test_output_that_nobody_takes(target, code, monkeypatch, capsys):
    """`| head` is no error to talk about; a full disk is, and neither may end in Python's own words at exit."""
    if target == "/dev/full" and not os.path.exists(target):
        pytest.skip("/dev/full is a device of Linux")
    if target == "/dev/full":
        handle = os.open(target, os.O_WRONLY)
    else:
        reader, handle = os.pipe()
        os.close(reader)
    stream = os.fdopen(handle, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    assert run_program("desa2va chat", say("an answer\n")) == code
    stream.close()  # fails where anything is left in the buffer
    told = capsys.readouterr().err
    assert told == ("desa2va chat: No space left on device\n" if code == 2 else "")
