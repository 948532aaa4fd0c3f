"""Counts of a service, as the text that Prometheus reads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Requests by route and status, their seconds, and whatever is read when somebody asks.

    Args:
        gauges: name -> (help, value now). Names that end with `_total` are counters.
    """

    def __init__(self, gauges: dict[str, tuple[str, Callable[[], float]]]) -> None:
        self._gauges = gauges
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, route: str, status: int, seconds: float) -> None:
        """One request that is over."""
        with self._lock:
            self._requests[route, status] += 1
            self._seconds[route] += seconds
            self._buckets[route, next((bound for bound in _BUCKETS if seconds <= bound), float("inf"))] += 1

    def text(self) -> str:
        """Everything, in version 0.0.4 of the text format."""
        lines = []
        for name, (about, value) in self._gauges.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP desa2va_{name} {about}", f"# TYPE desa2va_{name} {kind}", f"desa2va_{name} {value():g}"]
        with self._lock:
            lines += self._request_lines()
        return "\n".join(lines) + "\n"

    def _request_lines(self) -> list[str]:
        name = "desa2va_requests_total"
        lines = [f"# HELP {name} Requests by route and status.", f"# TYPE {name} counter"]
        lines += [
            f'{name}{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in sorted(self._requests.items())
        ]
        name = "desa2va_request_seconds"
        lines += [f"# HELP {name} Seconds from the first byte to the last.", f"# TYPE {name} histogram"]
        for route in sorted(self._seconds):
            total = 0
            for bound in (*_BUCKETS, float("inf")):
                total += self._buckets[route, bound]
                shown = "+Inf" if bound == float("inf") else f"{bound:g}"
                lines.append(f'{name}_bucket{{route="{route}",le="{shown}"}} {total}')
            lines.append(f'{name}_sum{{route="{route}"}} {self._seconds[route]:g}')
            lines.append(f'{name}_count{{route="{route}"}} {total}')
        return lines


__all__ = ["Metrics"]
