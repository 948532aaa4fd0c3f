"""`python -m desa2va.commands.release RUN --out DIR`: a finished training becomes a model folder fit to be shipped.

What enters: the output folder of `desa2va train RECIPE` (one sub-folder per stage with `stage.json` and
`trainer_state.json`) and the JSON files that `desa2va eval` wrote. What leaves: the last stage's model in bfloat16,
its processor, `training_summary.json`, `evaluation.json`, a picture of the loss curves, and the model card made from
them. No code: the package itself has it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from desa2va.argument_types import Parser, named
from desa2va.card import EVALUATION_FILE, SUMMARY_FILE, write_card
from desa2va.processing.files import output_folder
from desa2va.program import run_program


def find_stages(runs: list[Path]) -> list[Path]:
    """Return the finished stages of the given folders, in order; the stages inside one folder as they ended.

    Args:
        runs: Folders of stages, or folders that hold them.

    Raises:
        FileNotFoundError: If a folder has no finished stage.
    """
    stages = []
    for run in runs:
        inside = sorted(run.glob("*/stage.json"), key=lambda path: path.stat().st_mtime)
        found = [run] if (run / "stage.json").is_file() else [path.parent for path in inside]
        if not found:
            raise FileNotFoundError(
                f"{run} holds no finished stage (stage.json); give the output_dir of `desa2va train`"
            )
        stages.extend(found)
    return stages


def summarise(stages: list[Path], command: str, after: Path | None = None, notes: str = "") -> dict[str, Any]:
    """Return `training_summary.json`: what the model card says about the training.

    Args:
        stages: Folders with `stage.json`.
        command: The command that repeats the training.
        after: A released model the first stage began with; its stages and notes stand before the new ones,
            its limitations stay.
        notes: What else a reader should know.

    Raises:
        FileNotFoundError: If `after` has no `training_summary.json`.
    """
    earlier: dict[str, Any] = {}
    if after is not None:
        earlier = json.loads((after / SUMMARY_FILE).read_text(encoding="utf-8"))
    records = [json.loads((stage / "stage.json").read_text(encoding="utf-8")) for stage in stages]
    phases = []
    for folder, record in zip(stages, records, strict=True):
        training = record["config"].get("training", {})
        phases.append(
            {
                "stage": folder.name,
                "phase": training.get("phase"),
                "steps": record.get("steps"),
                "batch": training.get("per_device_train_batch_size"),
                "minutes": round(record.get("seconds", 0) / 60, 1),
                "last loss": record.get("final", {}).get("train_loss"),
            }
        )
    datasets = {Path(record["config"].get("data", {}).get("dataset", "refshapes")).name for record in records}
    last = records[-1]
    seeds = {record["config"].get("seed", 0) for record in records}
    notes = " ".join(part for part in (earlier.get("notes", ""), notes) if part)
    minutes = earlier.get("total minutes", 0) + sum(record.get("seconds", 0) for record in records) / 60
    return {
        "command": command,
        "data": sorted(datasets | set(earlier.get("data", []))),
        "seeds": sorted(seeds | set(earlier.get("seeds", []))),
        "hardware": f"{last.get('device')}, {last.get('hardware')}",
        "processes": last.get("processes"),
        "threads per process": last.get("threads"),
        "total minutes": round(minutes, 1),
        "versions": last.get("versions", {}),
        "phases": [*earlier.get("phases", []), *phases],
        **({"notes": notes} if notes else {}),
        **({"limitations": earlier["limitations"]} if "limitations" in earlier else {}),
    }


def draw_curves(stages: list[Path], path: Path) -> None:
    """Draw every logged loss term over the steps, one panel per stage.

    Args:
        stages: Folders with `trainer_state.json`; those without are left out.
        path: The PNG to write.

    Raises:
        ImportError: If matplotlib is missing; the message says how to get it.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("the curves need matplotlib: pip install 'desa2va[train]'") from error
    histories = {
        stage.name: json.loads((stage / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
        for stage in stages
        if (stage / "trainer_state.json").is_file()
    }
    if not histories:
        return
    columns = min(3, len(histories))
    rows = -(-len(histories) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 3 * rows), squeeze=False)
    for axis in axes.flat[len(histories) :]:
        axis.axis("off")
    for axis, (name, history) in zip(axes.flat, histories.items(), strict=False):
        terms = sorted({key for entry in history for key in entry if key.startswith("loss_")})
        for term in terms:
            points = [(entry["step"], entry[term]) for entry in history if term in entry]
            axis.plot(*zip(*points, strict=True), label=term.removeprefix("loss_"), linewidth=1)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
        if terms:
            axis.legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def gather_evaluations(files: list[Path]) -> dict[str, Any]:
    """Return one report, or several under `"level split"` (the file's stem where that repeats).

    Of the `report.json` of a benchmark's run its figures are kept, under the benchmark's name. A card is public: of an
    absolute path to the scored model only the folder's name is kept.
    """
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    reports = [_of_run(content) if "benchmark" in content else content for content in contents]
    for report in reports:
        model = report.get("provenance", {}).get("model", "")
        if Path(model).is_absolute():
            report["provenance"]["model"] = Path(model).name
    if len(reports) == 1 and "benchmark" not in contents[0]:
        return reports[0]
    named: dict[str, Any] = {}
    for path, content, report in zip(files, contents, reports, strict=True):
        name = content.get("benchmark") or " ".join(str(report[key]) for key in ("level", "split") if key in report)
        named[path.stem if not name or name in named else name] = report
    return named


def _of_run(content: dict[str, Any]) -> dict[str, Any]:
    """What a card says of a benchmark's run: figures, in groups where it has groups, and what they were made with."""
    figures, provenance = content["figures"], content["provenance"]
    grouped = any(isinstance(value, dict) for value in figures.values())
    rest = {name: value for name, value in provenance.items() if not isinstance(value, dict)}
    made_with = {**provenance["model"], **(provenance["machine"] or {}), **rest}
    shown = {"by_group": figures} if grouped else figures
    return {"protocol": content["protocol"], "n": content["n"], **shown, "provenance": made_with}


def check_scored(evaluations: list[Path], folder: Path) -> None:
    """Raise `ValueError` where a report is not about the weights in `folder`.

    A stage's weights are not those that are shipped, which are rounded.
    """
    from desa2va.eval.provenance import weights_sha256

    digest = weights_sha256(folder)
    for path in evaluations:
        provenance = json.loads(path.read_text(encoding="utf-8")).get("provenance", {})
        scored = provenance["model"] if isinstance(provenance.get("model"), dict) else provenance
        if scored.get("weights_sha256") != digest:
            raise ValueError(
                f"{path} holds scores of other weights than those that are released; release without --evaluation, "
                "score that folder, and release again"
            )


def release(
    runs: list[Path],
    out: Path,
    evaluations: list[Path],
    command: str,
    name: str,
    dtype: str,
    after: Path | None = None,
    notes: str = "",
) -> Path:
    """Write the folder; see the module's docstring.

    Args:
        runs: Output folders of a training, see `find_stages`; the last stage's model is released.
        out: Target folder; must be absent or empty.
        evaluations: JSON files of `desa2va eval`, of the very weights that are written.
        command: Repeats the training.
        name: Title of the model card.
        dtype: Type of the stored weights.
        after, notes: See `summarise`.

    Raises:
        ValueError: An evaluation is of other weights.
    """
    from desa2va.hub import load

    stages = find_stages(runs)
    with output_folder(out, sources=runs) as folder:
        model, _ = load(stages[-1], device="cpu", dtype=dtype)
        summary = summarise(stages, command, after, notes)
        (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        if evaluations:
            scores = json.dumps(gather_evaluations(evaluations), indent=2)
            (folder / EVALUATION_FILE).write_text(scores + "\n", encoding="utf-8")
        draw_curves(stages, folder / "curves.png")
        model.save_pretrained(folder)
        check_scored(evaluations, folder)
        strip_code(folder)
        write_card(folder, name)
    return out


def strip_code(folder: Path) -> None:
    """Remove the flat code and what names it: inside the package the installed classes are used, and `export` adds
    both again.
    """
    for path in folder.glob("*.py"):
        path.unlink()
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    for name in ("config.json", "processor_config.json"):
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        content.pop("auto_map", None)
        content.pop("custom_pipelines", None)
        (folder / name).write_text(
            json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def main(argv: list[str] | None = None) -> int:
    """Parse arguments and release."""
    parser = Parser(prog="python -m desa2va.commands.release", description=__doc__.split("\n")[0])
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="output folders of a finished training, in order"
    )
    parser.add_argument("--out", type=Path, required=True, help="target; must be absent or empty")
    parser.add_argument(
        "--evaluation",
        type=Path,
        nargs="*",
        default=[],
        metavar="FILE",
        help="JSON of `desa2va eval` of these weights",
    )
    parser.add_argument(
        "--command", default="desa2va train tiny", help="what repeats the training; default: %(default)s"
    )
    parser.add_argument("--name", default="desa2va-tiny", help="title of the card; default: %(default)s")
    parser.add_argument(
        "--after", type=Path, metavar="MODEL", help="released model the training began with; its stages come first"
    )
    parser.add_argument("--notes", default="", help="a sentence for the card's section on training")
    parser.add_argument(
        "--dtype",
        **named("bfloat16", "float16", "float32"),
        default="bfloat16",
        help="type of the stored weights; default: %(default)s",
    )
    args = parser.parse_args(argv)
    out = release(args.runs, args.out, args.evaluation, args.command, args.name, args.dtype, args.after, args.notes)
    print(f"{out}: {sum(path.stat().st_size for path in out.iterdir()) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_program("desa2va.commands.release", main))
