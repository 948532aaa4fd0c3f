"""A port that nobody has."""

import random
import socket


def free_port():
    """Below those that systems hand out to connections by themselves: one of these may be taken before it is used."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port among 100 of 20000 to 31999")
