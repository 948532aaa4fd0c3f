"""What users of the service do, for locust (`pip install locust`); run by `benchmarks.service`, or by hand:

    locust -f benchmarks/service_users.py --headless -u 4 -r 4 -t 30s -H http://127.0.0.1:8000

Each user asks about pictures of a folder of base64 texts (PICTURES in the environment), one after the other, with a
new question each time: a picture comes back after `len(pictures)` questions, as it does when people work on a set.
"""

import itertools
import os
from pathlib import Path

from locust import HttpUser, constant, task

CONTENTS = [path.read_text() for path in sorted(Path(os.environ["PICTURES"]).glob("*.b64"))]
QUESTIONS = [f"the {color} {shape}" for color in ("red", "blue", "green") for shape in ("circle", "ring", "star")]
_PAIRS = itertools.cycle(itertools.product(QUESTIONS, CONTENTS))


class Asker(HttpUser):
    """One client that waits for each answer."""

    wait_time = constant(0)

    @task
    def ask(self):
        """One question."""
        text, content = next(_PAIRS)
        self.client.post("/v1/picture", json={"image": content, "text": text})
