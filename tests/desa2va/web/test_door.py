"""Whose a file is: what a browser was told the address of, and no other."""

import asyncio
import json
import os

import pytest

starlette = pytest.importorskip("starlette", reason="the extra `web` is not installed")
testclient = pytest.importorskip("starlette.testclient", reason="httpx is not installed")

from desa2va.serving.limits import Limits  # noqa: E402
from desa2va.web.door import Door  # noqa: E402

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def place(tmp_path):
    """The folder in which a page keeps files."""
    folder = tmp_path / "desa2va-web-x"
    for name in (ONE, TWO):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.png").write_text("content")
    return folder


@pytest.fixture
def door(place):
    """A page that tells addresses, repeats what it is told, and gives every file out, as gradio does."""

    async def page(scope, receive, send):
        path, body = scope["path"], b""
        if path == "/gradio_api/queue/data":
            body = f'data: {{"path": "{place / ONE / "a.png"}", "url": "x"}}'.encode()
        elif path == "/gradio_api/upload":
            body = json.dumps([str(place / TWO / "a.png")]).encode()
        elif scope["method"] == "POST":
            body = (await receive())["body"]
        elif "file=" in path:
            with open("/" + path.split("=/", 1)[1], "rb") as file:
                body = file.read()
        await starlette.responses.Response(body)(scope, receive, send)

    return Door(page, str(place), Limits(body_bytes=10_000, session_seconds=100), ("127.0.0.1",))


def visitor(door):
    return testclient.TestClient(door, base_url="http://127.0.0.1")


def test_a_file_is_given_to_whom_its_address_was_sent(door, place):
    """Whoever else heard the address would see another's picture."""
    one, two = visitor(door), visitor(door)
    address = f"/gradio_api/file={place / ONE / 'a.png'}"
    assert one.get(address).status_code == 404
    one.get("/gradio_api/queue/data")
    two.get("/gradio_api/queue/data?other")
    assert one.get(address).text == "content"
    one, two = visitor(door), visitor(door)
    one.post("/gradio_api/upload", content=b"x")
    assert one.get(f"/gradio_api/file={place / TWO / 'a.png'}").text == "content"
    assert two.get(f"/gradio_api/file={place / TWO / 'a.png'}").status_code == 404
    assert one.get(address).status_code == 404
    assert one.get("/gradio_api/file=/etc/hostname").status_code == 404
    assert one.get("/gradio_api/file=http://127.0.0.1/").status_code == 404


@pytest.mark.parametrize(
    "path", ["{0}/{2}/a.png", "{0}/{1}/../{2}/a.png", "{0}//{2}/a.png", "{3}/link/{2}/a.png", "http://x/{0}/{2}/a.png"]
)
def test_a_step_does_not_name_files_of_others(door, place, path):
    """The page would open them and show them, whoever asks."""
    one = visitor(door)
    one.get("/gradio_api/queue/data")
    os.symlink(place, place.parent / "link")
    assert one.post("/gradio_api/queue/join", json={"data": [{"path": str(place / ONE / "a.png")}]}).status_code == 200
    wrong = path.format(place, ONE, TWO, place.parent)
    assert one.post("/gradio_api/queue/join", json={"data": [{"path": wrong}]}).status_code == 404
    assert one.post("/gradio_api/queue/join", content=json.dumps([wrong]).replace("1", "\\u0031")).status_code == 404


def test_what_somebody_typed_tells_nobody_an_address(door, place):
    """The page repeats names of objects: these could look like an answer."""
    one = visitor(door)
    named = f'"path": "{place.parent}/desa2va-web-y/{TWO}/a.png'
    assert one.post("/gradio_api/queue/join", json=[named, "the red object", "/etc"]).status_code == 200
    assert TWO not in str(door._told)
    door._tell("x", door._sent, json.dumps([named.replace("web-y", "web-x")]).encode())
    assert door._told == {}


def test_files_go_with_the_last_page_of_a_browser(door, place):
    """And stay as long as somebody else was told of them."""

    async def leave():
        pages = [asyncio.Event() for _ in range(3)]
        stays = [asyncio.ensure_future(door._stay(who, page.wait())) for who, page in zip("aab", pages, strict=True)]
        door._told = {"a": {ONE, TWO}, "b": {TWO}}
        await asyncio.sleep(0)  # all are open
        for page, left in zip(pages, ([ONE, TWO], [TWO], []), strict=True):
            page.set()
            await stays.pop(0)
            assert sorted(os.listdir(place)) == left

    asyncio.run(leave())


def test_requests_that_are_no_requests_of_the_page(door):
    """Under another name, too large, no JSON: one sentence each."""
    other = testclient.TestClient(door, base_url="http://evil.example")
    assert (other.get("/").status_code, visitor(door).get("/").status_code) == (421, 200)
    assert visitor(door).post("/gradio_api/queue/join", json="x" * 10_000).status_code == 413
    assert visitor(door).post("/gradio_api/queue/join", content=b"{").status_code == 400


def test_what_is_gone_is_forgotten(door, place):
    """A page that is open for days would remember every frame that was ever shown."""
    for number in range(1, 1001):
        door._tell("a", door._sent, f'"path": "{place.name}/{number:064d}/a.png"'.encode())
    assert door._told == {}


def test_what_is_old_goes_unasked(door, place):
    """Uploads that broke off, and pictures of agents, are nobody's: they stayed as long as the program."""
    (place / "tmpabc").write_text("half")
    gone = place / ("3" * 64)  # between the listing and the look at it
    gone.symlink_to("nowhere")
    for path in (place / "tmpabc", place / TWO / "a.png", place / TWO):
        os.utime(path, (1, 1))
    visitor(door).get("/")
    gone.unlink()
    assert os.listdir(place) == [ONE]
