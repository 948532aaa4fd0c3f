"""A client of chat endpoints that speak OpenAI's protocol, for judges and describers: `POST URL/chat/completions`.

Words and pictures enter, the answer's words leave. What fails for the moment is asked again; what can not succeed is
one error; a client can keep to a rate and to a budget. The standard library alone. (Engineering; no paper section.)
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from PIL import Image

KEY_VARIABLE = "OPENAI_API_KEY"
_BUSY = {408, 409, 425, 429}
_LONGEST_PAUSE = 60.0
_LARGEST = 1 << 24  # bytes of an answer
_JPEG_QUALITY = 95


class EndpointError(OSError):
    """An endpoint that refused, answered nonsense, or did not answer in all its tries."""


class CostExceededError(EndpointError):
    """The next request would go beyond the budget."""


class _PassingError(Exception):
    """What may be different the next time. `pause`: seconds the endpoint asked for."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected request would become a GET and carry the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class ChatClient:
    """Asks one model of one endpoint; may be shared by threads.

    Args:
        url: of the protocol's root, e.g. `http://localhost:8000/v1`. model: the model's name there.
        key: sent as a bearer token; by default that of the environment variable `OPENAI_API_KEY`, if there is one.
        timeout: seconds for one try, its whole answer included. retries: further tries after a failed one.
        pause: seconds before the second try; doubled for each further one, unless the endpoint asks for another.
        requests_per_minute: at most; tries count. max_cost: no request is begun once so much is spent.
        prices: of a million tokens of requests and of answers, in the currency of `max_cost`.

    Attributes:
        requests, prompt_tokens, completion_tokens: of everything that was answered so far, as the endpoint counts.

    Raises:
        ValueError: no http(s) address, or a budget without prices.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 5,
        pause: float = 1.0,
        requests_per_minute: float | None = None,
        max_cost: float | None = None,
        prices: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"an endpoint is an address like http://localhost:8000/v1, got {url!r:.80}")
        if max_cost is not None and not max(prices) > 0:
            raise ValueError("a budget needs the prices of a million tokens of requests and of answers")
        self.url, self.model = url.rstrip("/").removesuffix("/chat/completions"), model
        self._key = (os.environ.get(KEY_VARIABLE, "") if key is None else key).strip()
        self._timeout, self._retries, self._pause = timeout, retries, pause
        self._spacing = 60 / requests_per_minute if requests_per_minute else 0.0
        self._max_cost, self._prices = max_cost, prices
        self._lock, self._next = threading.Lock(), 0.0
        self._opener = urllib.request.build_opener(_NoRedirect)
        self.requests = self.prompt_tokens = self.completion_tokens = 0

    @property
    def cost(self) -> float:
        """What was spent so far, in the currency of the prices."""
        return (self._prices[0] * self.prompt_tokens + self._prices[1] * self.completion_tokens) / 1e6

    def ask(
        self,
        prompt: str,
        images: Sequence[Image.Image] = (),
        *,
        system: str | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
    ) -> str:
        """The model's answer to one request.

        Args:
            prompt: what is asked. images: shown before it, as JPEG. system: the system's words.
            max_tokens, temperature: of the answer.

        Raises:
            EndpointError: refused, nonsense, or no answer in all tries; it tells what the last one said.
            CostExceededError: the budget is spent; nothing was asked.
        """
        content: Any = [*map(_shown, images), {"type": "text", "text": prompt}] if images else prompt
        messages = [{"role": "system", "content": system}] if system is not None else []
        messages.append({"role": "user", "content": content})
        body = {"model": self.model, "messages": messages, "max_tokens": max_tokens, "temperature": temperature}
        for attempt in range(self._retries + 1):
            self._wait_for_turn()
            try:
                return self._answer(self._posted(json.dumps(body).encode()))
            except _PassingError as error:
                reason, wished = error, error.pause
            if attempt < self._retries:
                time.sleep(min(_LONGEST_PAUSE, self._pause * 2**attempt if wished is None else wished))
        raise EndpointError(f"{self.url}: no answer in {self._retries + 1} tries; the last: {reason}")

    def _wait_for_turn(self) -> None:
        """Keeps to the rate and to the budget."""
        with self._lock:
            if self._max_cost is not None and self.cost >= self._max_cost:
                spent = f"{self.cost:.4g} of at most {self._max_cost:g} are spent"
                raise CostExceededError(f"{self.url}: {spent} after {self.requests} requests")
            turn = max(time.monotonic(), self._next)
            self._next = turn + self._spacing
        time.sleep(max(0.0, turn - time.monotonic()))

    def _posted(self, body: bytes) -> bytes:
        """The body of an answer.

        Raises:
            _PassingError: another try may succeed. EndpointError: none can.
        """
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(f"{self.url}/chat/completions", body, headers)
        deadline = time.monotonic() + self._timeout
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return _read(response, deadline)
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise _PassingError(f"{type(reason).__name__}: {reason}") from None

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        """What an answer with an error's code means."""
        try:
            told = error.read(2000).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            told = ""
        said = f"HTTP {error.code} {error.reason}: {' '.join(self._without_key(told).split()):.300}"
        if error.code in _BUSY or error.code >= 500:
            return _PassingError(said, _seconds(error.headers.get("Retry-After")))
        hint = f"; is {KEY_VARIABLE} set, and right?" if error.code in (401, 403) else ""
        return EndpointError(f"{self.url} refuses: {said}{hint}")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _answer(self, body: bytes) -> str:
        """The words of an answer; its tokens are counted."""
        try:
            found = json.loads(body)
            text, usage = found["choices"][0]["message"]["content"], found.get("usage")
            if not isinstance(text, str):
                raise TypeError
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            told = self._without_key(body[:200].decode("utf-8", "replace"))
            raise _PassingError(f"it is no chat completion: {' '.join(told.split())!r}") from None
        counts = [_count(usage, name) for name in ("prompt_tokens", "completion_tokens")]
        if self._max_cost is not None and None in counts:
            raise EndpointError(f"{self.url} does not tell how many tokens it used, so no budget can be kept")
        with self._lock:
            self.requests += 1
            self.prompt_tokens += counts[0] or 0
            self.completion_tokens += counts[1] or 0
        return text


def _read(response: Any, deadline: float) -> bytes:
    """The whole body; the socket's own time-out begins anew with every byte."""
    found = bytearray()
    while part := response.read1(1 << 16):
        found += part
        if time.monotonic() > deadline:
            raise _PassingError("the answer was not complete in time")
        if len(found) > _LARGEST:
            raise _PassingError(f"the answer is larger than {_LARGEST >> 20} MiB")
    return bytes(found)


def _shown(image: Image.Image) -> dict[str, Any]:
    """A picture as a part of a message."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=_JPEG_QUALITY)
    code = base64.b64encode(stream.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{code}"}}


def _seconds(text: str | None) -> float | None:
    """`Retry-After`; a date, which it may also be, is passed over."""
    try:
        return max(0.0, float(text)) if text is not None else None
    except ValueError:
        return None


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and value >= 0 else None


__all__ = ["KEY_VARIABLE", "ChatClient", "CostExceededError", "EndpointError"]
