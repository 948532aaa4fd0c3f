"""Addresses: a server that is mute, drips, never ends or talks nonsense costs bounded time and gives one sentence."""

import io
import sys
import threading
import time

import pytest

from desa2va.processing.inputs.download import download, shown_url
from desa2va.processing.inputs.video_io import open_visual

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def hasty(monkeypatch):
    """Half a second in all."""
    # The door of the wing offers the function under the module's name.
    monkeypatch.setattr(sys.modules[download.__module__], "TOTAL_SECONDS", 0.5)


def endless(send, piece, pause=0.02):
    while True:
        send(piece)
        time.sleep(pause)


SERVERS = {
    "mute": lambda send: time.sleep(20),
    "drips its head": lambda send: endless(send, b"H"),
    "drips a header": lambda send: (send(HEAD), endless(send, b"X")),
    "headers without end": lambda send: (send(HEAD), endless(send, b"A: b\r\n")),
    "drips its body": lambda send: (send(HEAD + b"Content-Length: 100000\r\n\r\n"), endless(send, b"x")),
    "body without end": lambda send: (send(HEAD + b"\r\n"), endless(send, b"x" * 100)),
    "chunks without end": lambda send: (
        send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
        endless(send, b"1\r\nx\r\n"),
    ),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_takes_for_ever_is_left(serve, hasty, kind):
    """The time-out of a socket begins anew with every byte, so that one byte a while held a program for days."""
    with pytest.raises(ValueError, match=r"^http://127.0.0.1:\d+/a.png: could not be downloaded \(.*0.5 seconds"):
        download(serve(SERVERS[kind]) + "?token=secret", io.BytesIO(), 10**9)
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"garbage", "could not be downloaded"),
        (b"", "could not be downloaded"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404"),
        (HEAD + b"Content-Length: 100\r\n\r\nshort", "5 of 100 bytes|IncompleteRead"),
        (HEAD + b"Content-Length: " + b"9" * 10000 + b"\r\n\r\n", "could not be downloaded"),
        (CHUNKED + b"zz\r\n", "could not be downloaded"),
        (HEAD + b"\r\n" + b"x" * 5000, "larger than 4000 bytes"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\n\r\n", "could not be downloaded"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "could not be downloaded"),
    ],
)
def test_answers_that_are_no_file_are_one_sentence(serve, answer, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        download(serve(lambda send: send(answer)), io.BytesIO(), 4000)
    assert "127.0.0.1" in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:port/a.png",
        "http://127.0.0.1:99999/a.png",
        "http://127.0.0.1:1/a.png",
        "http://127.0.0.1/a b.png",
        "http://127.0.0.1/\n.png",
        "http://127.0.0.1/\ud800.png",
        "http://127.0.0.1/é.png",
        "http://[::1/a.png",
        "http:///a.png",
        "http://",
        "http://me:secret@127.0.0.1:1/a.png",
        "http://127.0.0.1:1/a.png?key=secret#secret",
    ],
)
@pytest.mark.parametrize("read", [lambda address: download(address, io.BytesIO(), 100), open_visual])
def test_addresses_that_lead_nowhere_are_named_without_secrets(address, read):
    """A bad port was an InvalidURL that showed the password, a space another kind of error."""
    with pytest.raises(ValueError, match="^http:") as caught:
        read(address)
    assert "secret" not in str(caught.value)


def test_an_address_is_shown_without_what_may_be_secret():
    assert shown_url("https://me:pw@host.org/a.png?key=1#x") == "https://host.org/a.png"


def test_a_video_behind_an_address_is_a_local_file(serve, tmp_path, write_video, grey):
    """FFmpeg would ask the server again for every jump, and wait for ever where it is mute."""
    write_video(tmp_path / "a.mp4")
    source = open_visual(serve((tmp_path / "a.mp4").read_bytes()) + "?key=secret")
    assert grey(source.iterate()) == list(range(12))
    assert grey(source.read([7, 2])) == [7, 2]
    assert source.name.endswith("/a.png")
    assert "secret" not in source.name


def test_a_list_of_other_files_behind_an_address_is_not_followed(serve, tmp_path, write_video, monkeypatch):
    """It was opened from the folder of temporary files, and showed whatever video lay beside it there."""
    write_video(tmp_path / "neighbour.avi")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for text in ("ffconcat version 1.0\nfile 'neighbour.avi'\n", "ffconcat version 1.0\nfile 'missing.avi'\n"):
        with pytest.raises(ValueError, match="can not be read as a video") as caught:
            open_visual(serve(text.encode()))
        assert ".avi" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
