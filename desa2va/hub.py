"""From a name to a model and its processor, and from a model to a folder that anyone can load.

What enters: `"desa2va-tiny"` (travels with the package), a folder, or a Hub id. What leaves: a `DeSa2VAModel` with its
`DeSa2VAProcessor`, or a self-contained folder: weights, processor, flat code, model card. (Engineering; no paper
section.)
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

import desa2va.auto  # noqa: F401  (registers the classes with transformers)
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.processing_desa2va import DeSa2VAProcessor

from .card import SIDE_FILES, write_card

SHIPPED_MODEL = "desa2va-tiny"
_ASSETS = Path(__file__).resolve().parent / "assets"
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def resolve(name_or_path: str | os.PathLike) -> str:
    """Turn a model name into something `from_pretrained` accepts.

    Args:
        name_or_path: `"desa2va-tiny"`, a local folder, or a Hub id such as `"owner/name"`.

    Returns:
        A checked local folder, or the Hub id unchanged.

    Raises:
        FileNotFoundError: If it names a local folder that is absent or lacks configuration, processor or weights.
    """
    name = os.fspath(name_or_path)
    if name == SHIPPED_MODEL and not Path(name).is_dir():
        return str(_checked_folder(_ASSETS / SHIPPED_MODEL))
    if Path(name).expanduser().is_dir():
        return str(_checked_folder(Path(name).expanduser()))
    if not _HUB_ID.fullmatch(name) or name.startswith("."):
        raise FileNotFoundError(
            f"there is no folder {name!r}; give {SHIPPED_MODEL!r}, an existing model folder, or a Hub id 'owner/name'"
        )
    return name


def _checked_folder(folder: Path) -> Path:
    """Raise unless `folder` holds configuration, processor and weights."""
    missing = [name for name in ("config.json", "processor_config.json") if not (folder / name).is_file()]
    if not any(list(folder.glob(pattern)) for pattern in _WEIGHTS):
        missing.append("*.safetensors")
    if missing:
        raise FileNotFoundError(
            f"the folder {folder} is no DeSa2VA model: {', '.join(missing)} missing; "
            "save model and processor into one folder, or run `desa2va export`"
        )
    return folder


def load(
    name: str | os.PathLike = SHIPPED_MODEL,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    **kwargs: Any,
) -> tuple[DeSa2VAModel, DeSa2VAProcessor]:
    """Load a model in evaluation mode, and its processor.

    Args:
        name: See `resolve`.
        device: Where the model goes; `None` takes CUDA when present, else the CPU. Ignored when `device_map` is given.
        dtype: Of the weights, e.g. `"bfloat16"`; `None` takes float32 on the CPU and the stored one elsewhere.
        **kwargs: Passed to `DeSa2VAModel.from_pretrained` (`attn_implementation`, `device_map`, `revision`, ...).

    Returns:
        `(model, processor)`; the processor is also attached as `model.processor`, so `model.save_pretrained` saves
        both.

    Raises:
        FileNotFoundError: See `resolve`.
        ValueError: If the checkpoint lacks weights of the model; the message names them.
    """
    path = resolve(name)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if dtype is None:
        dtype = torch.float32 if device.type == "cpu" else "auto"
    model, info = DeSa2VAModel.from_pretrained(path, dtype=dtype, output_loading_info=True, **kwargs)
    bad = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if bad:
        shown = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        raise ValueError(f"the checkpoint {path} lacks weights of the model or has them in another shape: {shown}")
    hub_names = ("revision", "token", "cache_dir", "local_files_only")
    processor = DeSa2VAProcessor.from_pretrained(path, **{key: kwargs[key] for key in hub_names if key in kwargs})
    if "device_map" not in kwargs:
        model = model.to(device)
    model.processor = processor
    return model.eval(), processor


def export_model(out_dir: str | os.PathLike, model: str | os.PathLike = SHIPPED_MODEL) -> Path:
    """Write a self-contained folder: weights, processor, flat code with `auto_map`, and model card.

    The folder loads with `AutoModel` and `AutoProcessor` and `trust_remote_code=True` where this package is not
    installed, and can be uploaded as it is. Nothing is left behind when it fails half-way.

    Args:
        out_dir: Target; must be absent or empty.
        model: See `resolve`.

    Returns:
        The written folder.

    Raises:
        FileExistsError: If the target is a file or holds files.
        FileNotFoundError: See `resolve`.
        ValueError: If the checkpoint lacks weights.
    """
    out = Path(out_dir).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is not an empty folder; nothing was written, choose another target")
    source = resolve(model)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        loaded, _ = load(source, device="cpu", dtype="auto")
        for pattern in SIDE_FILES:
            for path in Path(source).glob(pattern):
                shutil.copyfile(path, temporary / path.name)
        loaded.save_pretrained(temporary)
        write_card(temporary)
        temporary.chmod(0o755)
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return out


__all__ = ["SHIPPED_MODEL", "export_model", "load", "resolve"]
