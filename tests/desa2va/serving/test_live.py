"""The service on a real socket: clients that are killed in the middle of something, and the command itself."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from desa2va.serving.engine import Engine
from desa2va.serving.limits import Limits

CLICK = [[40.0, 40.0, 1]]


@pytest.fixture
def address(model, processor):
    """Host and port of a running service with one place for a video."""
    uvicorn = pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
    from desa2va.serving.app import create_app

    app = create_app(Engine(model, processor), Limits(queue=8, batch=1, sessions=1))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


def post(address, path, body):
    request = urllib.request.Request(
        f"http://{address[0]}:{address[1]}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read().splitlines()[-1])


def send(address, path, body, length=None):
    """A connection on which a request was sent, whose answer nobody has read."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection(address)
    connection.sendall(f"{head}Content-Length: {length or len(data)}\r\n\r\n".encode() + data)
    return connection


def until_free(call, status):
    """What a call gives once it is no longer refused with a status."""
    for _ in range(100):
        try:
            return call()
        except urllib.error.HTTPError as error:
            if error.code != status:
                raise
            time.sleep(0.1)
    raise AssertionError(f"still {status}")


def test_killed_clients_harm_nobody(address, content, clip):
    """Half a request, one whose answer nobody reads, and a video that nobody waits for: their places become free."""
    question = {"image": content, "text": "the ring", "max_new_tokens": 4}
    send(address, "/v1/picture", question, length=10**6).close()
    for _ in range(3):
        send(address, "/v1/picture", question).close()
    send(address, "/v1/video", {"video": clip, "text": "the ring", "max_new_tokens": 4}).close()
    assert post(address, "/v1/picture", question)["results"]
    # Its only place for a video is free again as soon as the service has noticed.
    session = until_free(lambda: post(address, "/v1/sessions", {"video": clip})["session"], 429)
    post(address, f"/v1/sessions/{session}/add", {"points": CLICK})
    reader = send(address, f"/v1/sessions/{session}/propagate", {})
    assert reader.recv(20)
    reader.close()
    last = until_free(lambda: post(address, f"/v1/sessions/{session}/propagate", {"start": 0}), 409)
    assert last["frame"] == 5


def test_no_more_bodies_are_read_than_can_wait(address, content):
    """A thousand clients with 64 MiB each would fill the memory before the line could refuse them."""
    question = {"image": content, "text": "the ring", "max_new_tokens": 4}
    halves = [send(address, "/v1/picture", question, length=10**6) for _ in range(10)]

    def refused():
        try:
            post(address, "/v1/picture", question)
        except urllib.error.HTTPError as error:
            return error.code
        return None

    for _ in range(100):  # until all ten are being read
        if (status := refused()) is not None:
            break
        time.sleep(0.05)
    assert status == 429
    assert urllib.request.urlopen(f"http://{address[0]}:{address[1]}/health").status == 200
    for half in halves:
        half.close()
    assert until_free(lambda: post(address, "/v1/picture", question), 429)["results"]


def test_the_command_serves_until_it_is_asked_to_end(content):
    """What a user types; SIGTERM is how every supervisor ends it."""
    pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "desa2va", "serve", "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ)
    try:
        answer = None
        while answer is None:
            assert process.poll() is None, process.stdout.read()
            try:
                answer = post(("127.0.0.1", port), "/v1/picture", {"image": content, "text": "the ring"})
            except urllib.error.URLError:
                time.sleep(0.2)
        assert answer["results"][0]["text"]
    finally:
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=60)
    assert "Traceback" not in told


def test_the_schema_is_printed(capsys):
    """Clients are written before the service runs."""
    pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
    from desa2va.cli import main

    assert main(["serve", "--schema"]) == 0
    assert "/v1/picture" in json.loads(capsys.readouterr().out)["paths"]


def test_without_the_extra_the_command_says_what_to_install(capsys, monkeypatch):
    """An ImportError with a traceback is no answer."""
    from desa2va.cli import main

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve"]) == 2
    assert "pip install 'desa2va[serve]'" in capsys.readouterr().err
