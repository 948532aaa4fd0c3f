"""The plan of a run: every question in its order, and the units in which they are answered.

Enters: a benchmark and its records. Leaves: questions unit by unit, their ids, and a hash of all that is asked. A unit
is the same whoever answers it: neither the number of processes nor a kill changes what shares a batch, and with it the
last bits of a mask. (Engineering; no paper section.)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence

from desa2va.training.data.records import Record

from .questions import Benchmark, Question
from .units import share_out


class Plan:
    """All questions of a run in their order, and the units in which they are answered.

    The questions about one video, or about one picture that several are asked about, share its encodings and come in
    units of at most `batch_size`; pictures with one question each are answered `batch_size` at a time. Rivals come in
    one unit, however many.

    Args:
        benchmark: whose. records: of its split. batch_size: most questions of a unit.
        prompt: words around an expression, with `{}` for it; by default those of the records: `task="segment"`'s.
        limit: only the first so many questions; records, where the benchmark counts those.

    Raises:
        ValueError: two samples of one id, a prompt without `{}` or where none is taken, or nothing to ask.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        records: Sequence[Record],
        batch_size: int,
        prompt: str | None = None,
        limit: int | None = None,
    ) -> None:
        if prompt is not None and prompt.count("{}") != 1:
            raise ValueError(f"the prompt needs one {{}} in the place of the expression, got {prompt!r:.80}")
        self.benchmark, self.records, self.prompt, self.limit = benchmark, records, prompt, limit
        ids: dict[str, None] = {}
        digest = hashlib.sha256()
        groups = []
        for record in records:
            count = len(record.dialogues)
            if limit is not None and not benchmark.whole_records:
                count = min(count, limit - len(ids))
            for question in (self._question(record, place) for place in range(count)):
                if question.id in ids:
                    raise ValueError(f"{benchmark.name}: two samples are called {question.id} ({record.source})")
                ids[question.id] = None
                digest.update(_digested(question))
            groups.append((self._groups(record, count), record.is_video))
            if limit is not None and (len(groups) if benchmark.whole_records else len(ids)) >= limit:
                break
        if not ids:
            raise ValueError(f"{benchmark.name}: there is nothing to ask")
        self.ids, self.data_sha256 = list(ids), digest.hexdigest()
        self.units = list(share_out(groups, batch_size))

    def __len__(self) -> int:
        return len(self.ids)

    def questions(self, unit: int) -> list[Question]:
        """The questions of a unit."""
        held: dict[int, Record] = {}
        found = []
        for number, place in self.units[unit]:
            if number not in held:
                held[number] = self.records[number]
            found.append(self._question(held[number], place))
        return found

    def all_questions(self) -> Iterator[tuple[int, list[Question]]]:
        """Every unit with its questions."""
        return ((unit, self.questions(unit)) for unit in range(len(self.units)))

    def _groups(self, record: Record, count: int) -> list[list[int]]:
        """The places of a record's first questions, rivals in one group."""
        named, groups = self.benchmark.rivals, {}
        for place in range(count):
            group = place if named is None else record.dialogues[place].ids[named]
            groups.setdefault(group, []).append(place)
        return list(groups.values())

    def _question(self, record: Record, place: int) -> Question:
        dialogue = record.dialogues[place]
        asked = dialogue.turns[0][0]
        if self.prompt is not None:
            if "text" not in dialogue.ids:
                raise ValueError(f"{self.benchmark.name} asks in its own words; leave out the prompt")
            asked = self.prompt.replace("{}", str(dialogue.ids["text"]))
        return Question(self.benchmark.identify(record, place), record, dialogue, asked)


def _digested(question: Question) -> bytes:
    """What makes a question what it is: words, true masks, and the names and byte sizes of its pictures."""
    record, dialogue = question.record, question.dialogue
    sizes = map(len, record.media) if record.media else map(os.path.getsize, record.paths)
    files = list(zip(map(os.path.basename, record.paths), sizes, strict=True))
    masks = [[target.codes, target.ignored] for target in dialogue.targets]
    content = [question.id, dialogue.kind, dialogue.turns, dict(dialogue.ids), question.shape, files, masks]
    return json.dumps(content, sort_keys=True).encode()


__all__ = ["Plan"]
