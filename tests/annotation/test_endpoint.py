"""An endpoint as a describer: what is answered is kept, what is not is left, and a dead one ends the run."""

from itertools import chain

import numpy as np
import pytest

from desa2va.annotation.asks import Ask, Unanswered
from desa2va.annotation.endpoint import PATIENCE, EndpointDescriber
from desa2va.openai_client import ChatClient, CostExceededError, EndpointError
from tests.desa2va.chat_server import chat_server, completion

ASKS = [Ask(("v", str(k)), "crop", f"ask {k}", (np.zeros((8, 8, 3), np.uint8),)) for k in range(4)]


def describer(url, **options):
    client = ChatClient(url, "big", key="", **{"pause": 0.0, "retries": 1, "timeout": 20.0, **options})
    return EndpointDescriber(client, 64)


def asked(body):
    return body["messages"][0]["content"][-1]["text"]


def test_answers_come_one_by_one():
    """A kill must cost no answer that has come: they are groups of one."""
    with chat_server(lambda body: completion(f"to {asked(body)}")) as (url, requests):
        found = describer(url)
        groups = list(found.answers(ASKS))
        assert sorted(map(len, groups)) == [1] * 4
        assert {k: text for group in groups for k, text in group.items()} == {k: f"to ask {k}" for k in range(4)}
        assert found.spent() == (40, 8)
        assert found.spent() == (0, 0)
    assert all(len(request["body"]["messages"][0]["content"]) == 2 for request in requests)


def test_what_is_refused_is_left_for_another_run():
    """One bad request must not end a run of thousands, nor be taken for an answer."""
    with chat_server(lambda body: (400, {}, b"too large") if "2" in asked(body) else completion("good")) as (url, _):
        found = {k: text for group in describer(url).answers(ASKS) for k, text in group.items()}
    assert isinstance(found.pop(2), Unanswered)
    assert found == dict.fromkeys((0, 1, 3), "good")


def test_a_dead_endpoint_ends_the_run():
    with chat_server(lambda body: (503, {}, b"")) as (url, _):
        found = describer(url)
        assert all(isinstance(text, Unanswered) for group in found.answers(ASKS) for text in group.values())
        with pytest.raises(EndpointError, match=f"nor had the {PATIENCE - 1} asks before it.*repeat the command"):
            list(found.answers(ASKS))


def test_a_spent_budget_keeps_what_is_paid():
    """The first answer costs more than the budget; what is in flight by then is kept, the rest is not begun."""
    with chat_server(lambda body: completion("good")) as (url, requests):
        found, groups = describer(url, prices=(1e6, 1e6), max_cost=5), []
        with pytest.raises(CostExceededError, match="are spent"):
            groups.extend(chain(found.answers(ASKS), found.answers(ASKS)))
        assert len(groups) == len(requests) == found.client.requests
        assert groups
