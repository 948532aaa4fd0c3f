"""A describer behind an endpoint that speaks OpenAI's protocol: the asks of a batch are in flight together.

Asks enter, answers leave one by one as they come. What gets no answer is left for a later run; many in a row end the
run, since then the endpoint is away. (Engineering; no paper section.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

from PIL import Image

from desa2va.openai_client import ChatClient, CostExceededError, EndpointError

from .asks import Ask, Unanswered

PATIENCE = 5  # asks in a row without an answer, each after all its tries


class EndpointDescriber:
    """Asks a `ChatClient`.

    Args:
        client: with its limits. max_tokens: longest answer.
    """

    def __init__(self, client: ChatClient, max_tokens: int) -> None:
        self.client, self.max_tokens = client, max_tokens
        self.identity: dict[str, Any] = {"kind": "endpoint", "name": client.model, "max_tokens": max_tokens}
        self._failed, self._told = 0, (client.prompt_tokens, client.completion_tokens)

    def answers(self, asks: Sequence[Ask]) -> Iterator[dict[int, str | Unanswered]]:
        """One after the other, as they come.

        Raises:
            CostExceededError: the budget is spent. EndpointError: `PATIENCE` asks in a row got no answer.
        """
        pool = ThreadPoolExecutor(len(asks))
        try:
            running = {pool.submit(self._ask, ask): place for place, ask in enumerate(asks)}
            spent: CostExceededError | None = None
            for future in as_completed(running):
                try:
                    yield {running[future]: self._settled(future)}
                except CostExceededError as error:  # those in flight are paid: their answers are kept first
                    spent = error
            if spent is not None:
                raise spent
        finally:
            pool.shutdown(cancel_futures=True)

    def spent(self) -> tuple[int, int]:
        """Tokens since the last call."""
        before, now = self._told, (self.client.prompt_tokens, self.client.completion_tokens)
        self._told = now
        return now[0] - before[0], now[1] - before[1]

    def _ask(self, ask: Ask) -> str:
        pictures = [Image.fromarray(picture) for picture in ask.pictures]
        return self.client.ask(ask.prompt, pictures, max_tokens=self.max_tokens)

    def _settled(self, future: Future[str]) -> str | Unanswered:
        try:
            answer = future.result()
        except CostExceededError:
            raise
        except EndpointError as error:
            self._failed += 1
            if self._failed < PATIENCE:
                return Unanswered(str(error))
            raise EndpointError(
                f"{error}; nor had the {PATIENCE - 1} asks before it. What is finished is kept: repeat the command "
                "when the endpoint answers"
            ) from error
        self._failed = 0
        return answer


__all__ = ["PATIENCE", "EndpointDescriber"]
