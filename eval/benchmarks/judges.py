"""Judges of free answers: a language model behind an OpenAI-compatible endpoint, or one of transformers.

Enters: the judge's name, and the endpoint where it is behind one. Leaves: a function from question, true answer and
answer to a score from 0 to 3, or `None` where the judge names none. What was judged is kept beside the answers, so a
judge is asked once about each. The scale is VLMEvalKit's for MMBench-Video, told in our own words; GPT-4 judged the
published figures by theirs. (Paper section 4.1, video chat.)
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from desa2va.eval.provenance import model_folder, weights_sha256
from desa2va.openai_client import ChatClient
from desa2va.processing.files import parse_json

KEPT = "judgements.jsonl"
LONGEST_VERDICT = 16  # tokens
WORDING_VERSION = 1
SCALE = (
    "You grade answers to questions about a video. You see a question, its true answer, and a candidate's answer. "
    "Compare what the two answers mean, not how they are worded. 0: nothing agrees, the candidate is wrong. 1: little "
    "agrees, the candidate is mostly wrong. 2: much agrees, the candidate is mostly right. 3: all agrees, the "
    "candidate is right. Reply with one digit, 0, 1, 2 or 3, and nothing else."
)
ASKED = "Question: {}\nTrue answer: {}\nCandidate: {}\nGrade:"
_GRADE = re.compile(r"(?<![\w.,-])[0-3](?![\w-]|[.,]\d)")


class EndpointJudge:
    """A model behind an endpoint.

    Args:
        name: of the model there. url: of the endpoint; the key is that of `OPENAI_API_KEY`. options: of `ChatClient`.
    """

    def __init__(self, name: str, url: str, **options: Any) -> None:
        self.client = ChatClient(url, name, **options)
        self.identity = f"{name} at {self.client.url}"

    def check(self) -> None:
        """Asks once; raises `EndpointError` where no answer comes."""
        self.reply(ASKED.format("How many wheels has a car?", "Four.", "4"))

    def reply(self, asked: str) -> str:
        """What the judge says."""
        return self.client.ask(asked, system=SCALE, max_tokens=LONGEST_VERDICT)


class LocalJudge:
    """A causal language model of transformers; read when the first answer is judged, behind the model that answers.

    Args:
        name: folder or Hub id. device: by default cuda where it is there.
    """

    def __init__(self, name: str, device: str | None = None) -> None:
        self.name, self._device = name, device

    def check(self) -> None:
        """Raises `OSError` or `ValueError` where there is no such model."""
        from transformers import AutoConfig, AutoTokenizer

        AutoConfig.from_pretrained(self.name)
        AutoTokenizer.from_pretrained(self.name)

    @cached_property
    def identity(self) -> str:
        """Its name and the hash of its weights."""
        if not Path(self.name).is_dir():
            _ = self._loaded  # the Hub's cache holds no weights before
        return f"{self.name}, weights {weights_sha256(model_folder(self.name))}"

    def reply(self, asked: str) -> str:
        """What the judge says; greedy."""
        import torch

        tokenizer, model = self._loaded
        turns = [{"role": "system", "content": SCALE}, {"role": "user", "content": asked}]
        if tokenizer.chat_template:
            inputs = tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        else:
            inputs = tokenizer(f"{SCALE}\n\n{asked}", return_tensors="pt")
        with torch.inference_mode():
            found = model.generate(
                input_ids=inputs["input_ids"].to(model.device),
                attention_mask=inputs["attention_mask"].to(model.device),
                max_new_tokens=LONGEST_VERDICT,
                do_sample=False,
            )
        return tokenizer.decode(found[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = AutoModelForCausalLM.from_pretrained(self.name, dtype="auto").to(device).eval()
        return AutoTokenizer.from_pretrained(self.name), model


class KeptJudge:
    """A judge whose grades are kept: what one has graded once is not asked again, whatever kills the run.

    Args:
        judge: `EndpointJudge` or `LocalJudge`. folder: of the run; `judgements.jsonl` is appended to.

    Raises:
        ValueError: a line of the file that is none of these.
    """

    def __init__(self, judge: EndpointJudge | LocalJudge, folder: Path) -> None:
        self.judge, self.path = judge, folder / KEPT
        self.grades = read_grades(self.path)

    @property
    def identity(self) -> str:
        """Who judges, and by which wording."""
        return f"{self.judge.identity}, wording {WORDING_VERSION}"

    def check(self) -> None:
        """Raises `OSError` or `ValueError` where the judge can not be asked: hours of answers come before its first
        grade.
        """
        self.judge.check()

    def __call__(self, question: str, truth: str, answer: str) -> int | None:
        """The grade of an answer, 0 to 3; `None` where the judge names none, or several.

        Raises:
            EndpointError: the judge can not be asked.
        """
        asked = ASKED.format(question, truth, answer)
        key = hashlib.sha256(f"{self.identity}\n{asked}".encode()).hexdigest()
        if key not in self.grades:
            said = self.judge.reply(asked)
            self.grades[key] = read_grade(said)
            entry = {"key": key, "judge": self.identity, "asked": asked, "said": said, "grade": self.grades[key]}
            with self.path.open("ab") as file:
                file.write(json.dumps(entry).encode() + b"\n")
        return self.grades[key]


def read_grade(said: str) -> int | None:
    """The one grade that a judge names, in as many words as it likes; `None` without one, or with several."""
    found = set(_GRADE.findall(said))
    return int(found.pop()) if len(found) == 1 else None


def read_grades(path: Path) -> dict[str, int | None]:
    """Grades by key; a last line that a kill cut off is taken away.

    Raises:
        ValueError: another line that is no grade; it is named.
    """
    content = path.read_bytes() if path.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        path.write_bytes(whole)
    found = {}
    for number, line in enumerate(whole.splitlines()):
        entry = parse_json(line.decode("utf-8", "replace"), f"{path}, line {number}")
        if not isinstance(entry, dict) or entry.get("grade", "") not in (0, 1, 2, 3, None) or "key" not in entry:
            raise ValueError(f"{path}, line {number}: no grade of an answer; the file is damaged")
        found[str(entry["key"])] = entry["grade"]
    return found


def open_judge(name: str, url: str | None, device: str | None, folder: Path) -> KeptJudge:
    """A judge whose grades are kept in a folder.

    Args:
        name: of a model at `url`; without one, of a folder or on the Hub. device: of a local one.

    Raises:
        ValueError: no http(s) address, or a damaged file of grades.
    """
    return KeptJudge(LocalJudge(name, device) if url is None else EndpointJudge(name, url), folder)


__all__ = ["KEPT", "EndpointJudge", "KeptJudge", "LocalJudge", "open_judge", "read_grade", "read_grades"]
