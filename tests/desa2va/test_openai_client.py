"""The client against an endpoint that answers, refuses, stumbles, drips, and talks nonsense."""

import base64
import io
from itertools import chain, repeat

import pytest
from PIL import Image

from desa2va.openai_client import ChatClient, CostExceededError, EndpointError
from tests.desa2va.chat_server import chat_server, completion


def in_turn(*answers):
    """One answer after another, then the last again and again."""
    following = chain(answers, repeat(answers[-1]))
    return lambda body: next(following)


def client(url, **options):
    return ChatClient(url, "judge", **{"key": "secret", "pause": 0.0, "retries": 2, "timeout": 20.0, **options})


def test_what_is_sent_and_what_is_read():
    """Words, pictures before them, the system's words, the key; tokens are added up and have their price."""
    with chat_server(in_turn(completion("A red cross."))) as (url, requests):
        asked = client(f"{url}/", prices=(1e6, 10e6))
        assert (
            asked.ask("What?", [Image.new("RGBA", (8, 4), "red")], system="Be brief.", max_tokens=7) == "A red cross."
        )
        assert asked.ask("And?") == "A red cross."
    assert (asked.requests, asked.prompt_tokens, asked.completion_tokens, asked.cost) == (2, 20, 4, 60)
    first, second = (request["body"] for request in requests)
    assert [request["path"] for request in requests] == ["/v1/chat/completions"] * 2
    assert requests[0]["headers"]["Authorization"] == "Bearer secret"
    assert (first["model"], first["max_tokens"], first["temperature"]) == ("judge", 7, 0)
    system, user = first["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    shown, said = user["content"]
    head, _, code = shown["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(code))).size == (8, 4)
    assert said == {"type": "text", "text": "What?"}
    assert second["messages"] == [{"role": "user", "content": "And?"}]


def test_the_key_is_that_of_the_environment(monkeypatch):
    """A server of one's own needs none, and an empty header would be refused."""
    with chat_server(in_turn(completion("yes"))) as (url, requests):
        monkeypatch.setenv("OPENAI_API_KEY", " own \n")
        client(url, key=None).ask("?")
        monkeypatch.delenv("OPENAI_API_KEY")
        client(url, key=None).ask("?")
    assert [request["headers"].get("Authorization") for request in requests] == ["Bearer own", None]


@pytest.mark.parametrize(
    "stumble",
    [
        (429, {"Retry-After": "0"}, b"slow down"),
        (503, {"Retry-After": "Fri, 27 Nov 2026 00:00:00 GMT"}, b""),
        b"<html>welcome</html>",
        {"choices": []},
        {"choices": [{"message": {"content": None}}]},
        (200, {"Content-Length": "9000"}, b"{"),
    ],
    ids=["busy", "down", "html", "empty", "null", "cut off"],
)
def test_what_fails_for_the_moment_is_asked_again(stumble):
    with chat_server(in_turn(stumble, stumble, completion("yes"))) as (url, requests):
        assert client(url).ask("?") == "yes"
        assert len(requests) == 3
    with chat_server(in_turn(stumble)) as (url, requests):
        with pytest.raises(EndpointError, match=f"{url}: no answer in 3 tries; the last: "):
            client(url).ask("?")
        assert len(requests) == 3


@pytest.mark.parametrize(
    ("code", "told"),
    [(401, "refuses: HTTP 401 .*is OPENAI_API_KEY set, and right?"), (404, "refuses: HTTP 404 "), (302, "HTTP 302 ")],
)
def test_what_can_not_succeed_is_asked_once_and_tells_no_key(code, told):
    """A redirect is not followed: the key would go to another host."""
    answer = (code, {"Location": "/elsewhere"}, b"wrong key secret for judge")
    with chat_server(in_turn(answer)) as (url, requests):
        with pytest.raises(EndpointError, match=told) as error:
            client(url).ask("?")
        assert len(requests) == 1
    assert "secret" not in str(error.value)


def test_an_endpoint_that_drips_is_left():
    """A byte now and then keeps a socket's own time-out from ever coming."""
    with chat_server(lambda body: 0.05) as (url, _), pytest.raises(EndpointError, match="not complete in time"):
        client(url, timeout=0.2, retries=0).ask("?")


def test_nobody_there():
    with chat_server(in_turn(b"")) as (url, _):
        pass
    with pytest.raises(EndpointError, match="no answer in 3 tries; the last: ConnectionRefusedError"):
        client(url).ask("?")


def test_a_budget_and_a_rate(monkeypatch):
    """Each request costs 10 + 2 * 5 = 20: with 30 the third is not begun. At 60 a minute they start a second apart."""
    waited = []
    monkeypatch.setattr("desa2va.openai_client.time.sleep", waited.append)
    with chat_server(in_turn(completion("yes"))) as (url, requests):
        asked = client(url, prices=(1e6, 5e6), max_cost=30, requests_per_minute=60)
        asked.ask("?")
        asked.ask("?")
        with pytest.raises(CostExceededError, match="40 of at most 30 are spent after 2 requests"):
            asked.ask("?")
        assert len(requests) == 2
    assert waited[0] == 0
    assert 0 < waited[1] <= 1
    with chat_server(in_turn({"choices": [{"message": {"content": "yes"}}]})) as (url, _):
        with pytest.raises(EndpointError, match="how many tokens"):
            client(url, prices=(1.0, 1.0), max_cost=1).ask("?")
        assert client(url).ask("?") == "yes"


@pytest.mark.parametrize("url", ["localhost:8000", "file:///etc/passwd", "", "http://"])
def test_wrong_addresses_and_budgets(url):
    with pytest.raises(ValueError, match="an endpoint is an address like"):
        ChatClient(url, "m")
    with pytest.raises(ValueError, match="a budget needs the prices"):
        ChatClient("http://localhost/v1", "m", max_cost=1)
