"""`desa2va doctor`: is everything in place, what is wrong, and how to mend it."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

from desa2va.argument_types import add_model_arguments
from desa2va.errors import broken_import

from .common import add_command, load_model

_EXAMPLES = """
  desa2va doctor                    the installation and the shipped model
  desa2va doctor --model my-model   the same for your model
"""
_OLDEST_TRANSFORMERS = "5.17"
_TESTED_TRANSFORMERS = "5.24"  # docs/backbones.md says what was run
_OLDEST_TORCH = "2.11"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: What was looked at.
        fine: Whether it is in order.
        detail: What was found.
        remedy: What to do when it is not in order.
    """

    name: str
    fine: bool
    detail: str
    remedy: str = ""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "doctor", "check versions, device, video decoder and model", _EXAMPLES)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one line per finding; exit code 1 when something is wrong."""
    findings = []
    for finding in examine(args):
        findings.append(finding)
        print(f"{'OK   ' if finding.fine else 'WRONG'}  {finding.name:<18} {finding.detail}")
        if not finding.fine and finding.remedy:
            print(f"       {'':<18} -> {finding.remedy}")
    wrong = sum(not finding.fine for finding in findings)
    print("all is well" if not wrong else f"{wrong} of {len(findings)} checks failed")
    return 1 if wrong else 0


def examine(args: argparse.Namespace) -> Iterator[Finding]:
    """Yield all findings; a model that can not be loaded ends the list."""
    for name, check in (
        ("python", check_python),
        ("torch", check_torch),
        ("torchvision", check_torchvision),
        ("transformers", check_transformers),
        ("device", check_device),
        ("video decoder", check_video),
    ):
        yield guarded(name, check)
    try:
        model, processor = load_model(args)
    except Exception as error:  # the doctor reports whatever keeps a model from loading
        remedy = "check --model, or reinstall: pip install --force-reinstall desa2va"
        if broken_import(error) is not None:
            remedy = "mend what is wrong above; the model was not looked at"
        yield Finding("model", False, _say(error), remedy)
        return
    yield Finding("model", True, f"{args.model}: {model.num_parameters() / 1e6:.1f} M parameters, {model.dtype}")
    yield guarded("weights", lambda: check_weights(model))
    yield guarded("mask decoders", lambda: check_decoders(model))
    yield guarded("[SEG] token", lambda: check_seg_token(model, processor))
    yield guarded("one picture", lambda: check_one_picture(model, processor))


def guarded(name: str, check: Callable[[], Finding]) -> Finding:
    """Return the finding of `check`; an exception becomes a finding."""
    try:
        return check()
    except Exception as error:  # the doctor must survive every patient
        return Finding(
            name, False, _say(error), "run `desa2va doctor --debug` on a fresh environment and report this line"
        )


def _say(error: BaseException) -> str:
    return broken_import(error) or f"{type(error).__name__}: {' '.join(str(error).split())}"


def _version_tuple(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: `"2.15.0+cu130"` -> `(2, 15, 0)`."""
    numbers = []
    for part in text.split("+")[0].split("."):
        digits = "".join(character for character in part if character.isdigit())
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def check_python() -> Finding:
    """Python 3.10 or newer."""
    version = platform.python_version()
    return Finding("python", sys.version_info >= (3, 10), version, "install Python 3.10 or newer")


def check_torch() -> Finding:
    """A supported torch."""
    version = metadata.version("torch")
    fine = _version_tuple(version) >= _version_tuple(_OLDEST_TORCH)
    return Finding("torch", fine, version, f"pip install 'torch>={_OLDEST_TORCH}' torchvision")


def check_torchvision() -> Finding:
    """A torchvision that was built for the installed torch and imports."""
    remedy = "pip install --force-reinstall torch torchvision (both from the same place)"
    version = metadata.version("torchvision")
    wanted = [line for line in metadata.requires("torchvision") or [] if line.split(";")[0].startswith("torch==")]
    torch_version = metadata.version("torch").split("+")[0]
    for line in wanted:
        pinned = line.split(";")[0].removeprefix("torch==").strip().split("+")[0]
        if pinned != torch_version:
            return Finding(
                "torchvision", False, f"{version} is built for torch {pinned}, found {torch_version}", remedy
            )
    try:
        import_module("torchvision.ops")
    except (ImportError, RuntimeError, AttributeError) as error:
        return Finding("torchvision", False, f"{version} does not import: {_say(error)}", remedy)
    return Finding("torchvision", True, f"{version}, matches torch {torch_version}")


def check_transformers() -> Finding:
    """A transformers inside the supported window; a newer one than tested is said, not refused."""
    version = metadata.version("transformers")
    found = _version_tuple(version)
    fine = _version_tuple(_OLDEST_TRANSFORMERS) <= found < (6,)
    note = "" if found[:2] <= _version_tuple(_TESTED_TRANSFORMERS) else f", newer than tested ({_TESTED_TRANSFORMERS})"
    return Finding("transformers", fine, version + note, f"pip install 'transformers>={_OLDEST_TRANSFORMERS},<6'")


def check_device() -> Finding:
    """What the model runs on, shown by one multiplication."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
    if device == "cpu":
        return Finding("device", True, f"cpu, {torch.get_num_threads()} threads")
    properties = torch.cuda.get_device_properties(0)
    return Finding("device", True, f"cuda: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")


def check_video() -> Finding:
    """A short mp4 is written and read back, by the code that results and videos go through."""
    try:
        import av
    except ImportError as error:
        return Finding("video decoder", False, _say(error), "pip install 'av>=14.1'")
    import numpy as np

    from desa2va.processing.files import VideoWriter
    from desa2va.processing.inputs import open_visual

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/doctor.mp4"
        with VideoWriter(path, fps=5) as writer:
            for _ in range(3):
                writer.write(np.zeros((64, 64, 3), np.uint8))
        count = sum(1 for _ in open_visual(path).iterate())
    return Finding(
        "video decoder", count == 3, f"PyAV {av.__version__}, read {count} of 3 frames", "pip install -U av"
    )


def check_weights(model: Any) -> Finding:
    """Every weight is a finite number."""
    from desa2va.model_checks import not_finite

    broken = not_finite(model)
    remedy = "the file is damaged or training diverged: download it again or take an earlier checkpoint"
    detail = "all finite" if not broken else f"not finite: {', '.join(broken[:3])} ({len(broken)} tensors)"
    return Finding("weights", not broken, detail, remedy)


def check_decoders(model: Any) -> Finding:
    """The decoders that the mode needs exist beside SAM-2's own."""
    segmenter, mode = model.segmenter, model.config.prompt_mode
    needed = {"visual": segmenter.visual_decoder, "SAM-2": segmenter.sam.mask_decoder}
    if mode == "desa2va":
        needed["text"] = segmenter.text_decoder
    missing = [name for name, decoder in needed.items() if decoder is None]
    detail = f"mode {mode}: {', '.join(sorted(needed))}" + (f"; missing: {', '.join(missing)}" if missing else "")
    return Finding("mask decoders", not missing, detail, "export the model again with `desa2va export`")


def check_seg_token(model: Any, processor: Any) -> Finding:
    """Tokenizer, configuration and embedding table agree on the segmentation tokens."""
    ids, known = list(processor.seg_token_ids), list(model.config.seg_token_ids)
    rows = model.get_input_embeddings().weight.shape[0]
    single = all(
        len(processor.tokenizer(token, add_special_tokens=False)["input_ids"]) == 1 for token in processor.seg_tokens
    )
    fine = bool(ids) and single and ids == known and max(ids) < rows
    detail = f"id {ids}, configuration says {known}, {rows} embedding rows"
    remedy = "set config.seg_token_ids = processor.seg_token_ids and resize the token embeddings before training"
    return Finding("[SEG] token", fine, detail, remedy)


def check_one_picture(model: Any, processor: Any) -> Finding:
    """A red disc on grey goes all the way from pixels and words to a mask of the picture's size."""
    import numpy as np

    height, width = 96, 128
    rows, columns = np.mgrid[:height, :width]
    picture = np.full((height, width, 3), 128, np.uint8)
    picture[(rows - 48) ** 2 + (columns - 64) ** 2 < 24**2] = (220, 30, 30)
    started = time.perf_counter()
    inputs = processor(images=picture, text="the red circle", task="segment")
    result = processor.post_process(model.generate(**inputs), inputs)[0]
    seconds = time.perf_counter() - started
    shapes = {item.mask().shape for item in result.objects}
    fine = bool(result.objects) and shapes == {(height, width)}
    detail = f"status {result.status}, {len(result.objects)} mask(s), {seconds:.2f} s"
    return Finding(
        "one picture", fine, detail, f"the model gave no mask of {height}x{width} pixels; see the lines above"
    )
