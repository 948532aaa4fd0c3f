"""RefShapes, the procedural benchmark: what a model makes of held-out scenes when it has to find its own words.

A model and its processor enter, a report of plain values leaves: masks by kind of expression with their floor and
standard errors, expressions that fit nothing, questions, videos, and what it was measured with. `docs/evaluation.md`
says what each figure is. (The paper names no procedural set; the measures are those of its section 4.1.)
"""

from __future__ import annotations

import argparse
import logging
import time
from itertools import islice
from typing import Any

from tqdm.auto import tqdm

from desa2va.argument_types import Parser, unknown_name
from desa2va.processing.files import check_file_target
from desa2va.training.data.refshapes import PICTURE_KINDS, VERSION, VIDEO_KINDS

from .answering import Answerer, evaluation_mode, recorded_gates, track_strategy
from .metrics.uncertainty import mean_with_error
from .provenance import describe_run, model_folder, weights_sha256
from .refshapes_arguments import add_refshapes_arguments
from .refshapes_samples import draw_samples
from .refshapes_scores import PictureScores, VideoScores, score_no_target, score_questions
from .refshapes_tasks import PICTURE_TASKS, VIDEO_TASKS
from .report_file import write_report

QUESTIONS = ("color", "count", "exist")
MOST_QUESTIONS = 1000
MOST_VIDEOS_TOGETHER = 8

logger = logging.getLogger(__name__)


def evaluate_refshapes(
    model: Any,
    processor: Any,
    *,
    level: str = "standard",
    split: str = "test",
    seed: int = 0,
    limit: int = 1000,
    videos: int = 100,
    questions: int = MOST_QUESTIONS,
    tasks: int = 0,
    batch_size: int = 32,
) -> dict[str, Any]:
    """Score a model on RefShapes.

    Args:
        model: a `DeSa2VAModel` in any mode; put into eval mode and back.
        processor: its `DeSa2VAProcessor`.
        level: "easy", "standard" or "full".
        split: "train", "validation" or "test".
        seed: of the data set; another seed gives another world.
        limit: scenes, one expression each.
        questions: most scenes (never more than `limit`) of every kind of question, and of expressions that fit
            nothing; 0 leaves these parts out.
        tasks: scenes (clips) of every further task: sets, examples, grounded and plain captions, regions, dialogues;
            0 leaves the part out.
        videos: videos, one expression each; 0 leaves the part out.
        batch_size: pictures answered together.

    Returns:
        The report, ready for JSON; see `docs/evaluation.md`.

    Raises:
        ValueError: an unknown level or split, a negative seed, or a number that is too small.
    """
    _check(level, seed=seed, limit=limit, videos=videos, questions=questions, tasks=tasks, batch_size=batch_size)
    bench = RefShapesBenchmark(model, processor, level, split, seed, batch_size)
    few = min(limit, questions)
    started = time.perf_counter()
    total = limit + few * (1 + len(QUESTIONS)) + 2 * videos + tasks * (len(PICTURE_TASKS) + len(VIDEO_TASKS))
    with evaluation_mode(model), tqdm(total=total, desc=f"refshapes {level} {split}", disable=None) as bar:
        bench.progress = bar.update
        report = bench.pictures(limit)
        if few:
            report["no_target"] |= bench.no_target(few)
            report["qa"] = {name: bench.questions(f"qa_{name}", few) for name in QUESTIONS}
        if videos:
            report["video"] = bench.videos(videos)
        if tasks:
            report["tasks"] = bench.tasks(tasks)
    mean_gate = report.pop("mean_gate")
    return {
        "level": level,
        "split": split,
        "seed": seed,
        **report,
        "provenance": {
            **describe_run(model),
            "mean_gate": mean_gate,
            "data_version": VERSION,
            "limit": limit,
            "videos": videos,
            "tasks": tasks,
            "batch_size": batch_size,
            "seconds": round(time.perf_counter() - started, 1),
        },
    }


class RefShapesBenchmark:
    """The parts of the report; every part draws its samples anew, so the order of the parts does not matter.

    Args:
        model: in eval mode.
        processor: its processor.
        level: as in `evaluate_refshapes`.
        split: likewise.
        seed: likewise.
        batch_size: likewise.
    """

    def __init__(self, model: Any, processor: Any, level: str, split: str, seed: int, batch_size: int) -> None:
        self.model = model
        self.processor = processor
        self.level = level
        self.data = (split, level, seed)
        self.batch_size = batch_size
        self.progress: Any = None

    def pictures(self, count: int) -> dict[str, Any]:
        """Expressions in the level's own mix of kinds."""
        kinds = PICTURE_KINDS[self.level]
        scores = PictureScores(kinds)
        with recorded_gates(self.model) as gates:
            samples = draw_samples(*self.data, kinds, count)
            for sample, result in self._ask()(samples, return_branches=True):
                scores.add(sample, result)
        mean_gate = mean_with_error(gates)[0] if gates else None
        return {**scores.report(), "no_target": scores.target_accuracy, "mean_gate": mean_gate}

    def no_target(self, count: int) -> dict[str, Any]:
        """Expressions that fit nothing, whatever the level."""
        return score_no_target(self._ask()(draw_samples(*self.data, {"no_target": 1.0}, count)))

    def questions(self, kind: str, count: int) -> dict[str, Any]:
        """Questions of one kind."""
        return score_questions(self._ask()(draw_samples(*self.data, {kind: 1.0}, count)))

    def videos(self, count: int) -> dict[str, Any]:
        """Expressions about videos: with the processor's key frames, then with the first frame as the only one.

        In the second protocol the words meet frame 0 alone; SAM-2's memory carries that mask through the rest.
        """
        kinds = VIDEO_KINDS[self.level]
        scores = VideoScores(kinds)
        together = min(self.batch_size, MOST_VIDEOS_TOGETHER)
        samples = draw_samples(*self.data, kinds, count, videos=True)
        while batch := list(islice(samples, together)):
            for sample, result in self._ask()(batch):
                scores.add(sample, result)
            with track_strategy(self.model, "consistent"):
                for sample, result in self._ask()(batch, key_frames="first", num_key_frames=1):
                    scores.add_one_prompt(sample, result)
        return scores.report()

    def tasks(self, count: int) -> dict[str, Any]:
        """Every further task about pictures, then about videos, one request each; at level `full`, whose scenes hold
        the largest sets.
        """
        split, _, seed = self.data
        report = {}
        for prefix, scores, videos in (("", PICTURE_TASKS, False), ("video ", VIDEO_TASKS, True)):
            together = min(self.batch_size, MOST_VIDEOS_TOGETHER) if videos else self.batch_size
            ask = Answerer(self.model, self.processor, together, self.progress)
            for kind, score in scores.items():
                samples = draw_samples(split, "full", seed, {kind: 1.0}, count, videos=videos)
                report[prefix + kind.removeprefix("video_")] = score(ask(samples))
        return report

    def _ask(self) -> Answerer:
        return Answerer(self.model, self.processor, self.batch_size, self.progress)


LEAST = {"seed": 0, "limit": 1, "videos": 0, "questions": 0, "tasks": 0, "batch_size": 1}


def _check(level: str, **numbers: int) -> None:
    """Raises `ValueError` naming the argument that can not be."""
    if level not in PICTURE_KINDS:
        raise ValueError(f"level {unknown_name(level, PICTURE_KINDS)}")
    for name, value in numbers.items():
        if value < LEAST[name]:
            raise ValueError(f"{name} must be at least {LEAST[name]}, got {value}")


def summarise(report: dict[str, Any]) -> str:
    """The main figures as a few lines of text."""
    lines = [f"RefShapes {report['level']}, {report['split']} split, seed {report['seed']}, {report['n']} scenes"]
    lines += [f"{'':14}{'cIoU':>15}{'floor':>7}{'gIoU':>7}{'n':>6}"]
    rows = {"all": {**report, "floor_ciou": report["floor"]["ciou"]}, **report["by_kind"]}
    for name, row in rows.items():
        figures = f"{_shown(row, 'ciou'):>15}{row['floor_ciou']:7.3f}{row['giou']:7.3f}{row['n']:6}"
        lines.append(f"{name:14}{figures}")
    lines.append("by branch: " + ", ".join(f"{name} {value:.3f}" for name, value in report["by_branch"].items()))
    for name, row in report.get("error_prediction", {}).items():
        lines.append(
            f"does it tell wrong masks, {name}: AUROC {row['auroc']:.3f} [{row['low']:.3f}, {row['high']:.3f}] "
            f"({row['wrong']} wrong of {row['n']})"
        )
    lines.append(
        f"answers with [SEG]: {_shown(report, 'seg_rate')}; masks where something fits:"
        f" {_shown(report['no_target'], 't_acc')}; none where nothing fits: {_shown(report['no_target'], 'n_acc')}"
    )
    for name, row in report.get("qa", {}).items():
        lines.append(f"questions, {name}: {_shown(row, 'accuracy')} (majority {row['majority']:.3f}, n {row['n']})")
    for name, row in report.get("video", {}).items():
        lines.append(
            f"video, {name}: J&F {_shown(row, 'jf')}, mean IoU {_shown(row, 'mean_iou')}, with one prompt "
            f"{_shown(row, 'one_prompt_iou')} (n {row['n']})"
        )
    lines += [f"{name}: {_task_line(row)}" for name, row in report.get("tasks", {}).items()]
    return "\n".join(lines)


TASK_FIGURES = {
    "cgf1": "cgF1",
    "positive_micro_f1": "positive F1",
    "count_accuracy": "right number",
    "said_agrees": "text agrees with masks",
    "miou": "mIoU",
    "ap50": "AP50",
    "recall": "recall",
    "exact": "exact words",
    "without_seg": "without [SEG]",
    "accuracy": "right",
    "accuracy_color": "of colours",
    "accuracy_word": "of words",
    "accuracy_mask": "of masks",
    "repeated": "wrong words that repeat an answer",
}


def _task_line(row: dict[str, Any]) -> str:
    """The figures of one further task."""
    parts = [f"{words} {_shown(row, name)}" for name, words in TASK_FIGURES.items() if name in row]
    if "in_pieces" in row:
        pieces = row["in_pieces"]
        parts.append(f"masks in pieces {_shown(pieces, 'predicted')} (true ones {_shown(pieces, 'true')})")
    return f"{', '.join(parts)} (n {row['n']})"


def _shown(row: dict[str, Any], name: str) -> str:
    """A figure with its standard error, where there are any."""
    if row.get(name) is None:
        return "-"
    error = row.get(f"{name}_se")
    return f"{row[name]:.3f}" if error is None else f"{row[name]:.3f} ± {error:.3f}"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load a model, score it, write the report.

    Args:
        args: as `add_refshapes_arguments` describes them.

    Raises:
        FileNotFoundError: the folder of `--json` or the model does not exist.
        IsADirectoryError: `--json` is a folder.
    """
    # The command line's floor; imported here because nothing else of this room may know it.
    from desa2va.hub import load
    from desa2va.model_files import locate

    if args.json is not None:
        check_file_target("--json", args.json)
    numbers = {name: getattr(args, name) for name in ("seed", "limit", "videos", "tasks", "batch_size")}
    _check(args.level, **numbers)
    model, processor = load(args.model, device=args.device, dtype=args.dtype)
    weights = {"model": str(args.model), "weights_sha256": weights_sha256(model_folder(locate(args.model)))}
    report = evaluate_refshapes(model, processor, level=args.level, split=args.split, **numbers)
    report["provenance"] = {**weights, **report["provenance"]}
    if args.json is not None:
        write_report(args.json, report)
    return report


def main(arguments: list[str] | None = None) -> int:
    """Command line; `desa2va eval refshapes` is the same with the summary on standard output."""
    parser = Parser(prog="refshapes", description=__doc__.split("\n")[0])
    add_refshapes_arguments(parser)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logger.info("%s", summarise(run(parser.parse_args(arguments))))
    return 0


__all__ = ["RefShapesBenchmark", "evaluate_refshapes", "main", "run", "summarise"]
