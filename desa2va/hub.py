"""From a name to a model and its processor, and from a model to a folder that anyone can load.

What enters: `"desa2va-tiny"` (travels with the package), a folder, or a Hub id. What leaves: a `DeSa2VAModel` with its
`DeSa2VAProcessor`, or a self-contained folder: weights, processor, flat code, model card. (Engineering; no paper
section.)
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

import desa2va.auto  # noqa: F401  (registers the classes with transformers)
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.files import output_folder
from desa2va.processing.processing_desa2va import DeSa2VAProcessor

from .adapters import find_adapter, merge_adapter, read_adapter_config
from .card import SIDE_FILES, SUMMARY_FILE, write_card
from .errors import memory_freed
from .model_checks import check_configuration, check_together
from .model_files import (
    SHIPPED_MODEL,
    checked_device,
    checked_dtype,
    locate,
    named_in_errors,
    only_errors,
    resolve,
)
from .published import load_published, published_kind


@memory_freed()
def load(
    name: str | os.PathLike = SHIPPED_MODEL,
    *,
    sam2: str | os.PathLike | torch.nn.Module | None = None,
    init_desa2va: bool = False,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    torch_dtype: str | torch.dtype | None = None,
    base_model: str | os.PathLike | None = None,
    **kwargs: Any,
) -> tuple[DeSa2VAModel, DeSa2VAProcessor]:
    """Load a model in evaluation mode, and its processor.

    Args:
        name: See `resolve`; or published weights: a Sa2VA, or with `sam2` an InternVL or Qwen-VL
            (docs/weights.md); or an adapter, which is merged into its base model.
        sam2: Untouched SAM-2 weights beside published ones: a folder, a Hub id or an original `.pt` file.
        init_desa2va: Read a Sa2VA as the start of a DeSa2VA: two branches, both with the tuned decoder.
        device: Where the model goes; `None` takes CUDA when present, else the CPU. Ignored when `device_map` is given.
        dtype: Of the weights, e.g. `"bfloat16"`; `None` takes float32 on the CPU and the stored one elsewhere.
        torch_dtype: transformers' older name of `dtype`.
        base_model: Of an adapter, where it is not to be had under the name that the adapter gives.
        **kwargs: Passed to `DeSa2VAModel.from_pretrained` (`attn_implementation`, `device_map`, `revision`,
            `quantization_config`, ...).

    Returns:
        `(model, processor)`; the processor is also attached as `model.processor`, so `model.save_pretrained` saves
        both.

    Raises:
        FileNotFoundError: See `resolve`; or a Hub id that can not be read; or an adapter's base model.
        ValueError: If `dtype` and `torch_dtype` differ, the checkpoint lacks weights of the model (the message names
            them), holds a damaged file, is of parts that do not belong together (see `model_checks`), or this machine
            has no such device or dtype.
    """
    hub_options = {key: kwargs[key] for key in ("revision", "token", "cache_dir", "local_files_only") if key in kwargs}
    device, dtype = checked_device(device), checked_dtype(_one_dtype(dtype, torch_dtype))
    adapter = find_adapter(name, **hub_options)
    if adapter is not None:
        kwargs |= {"sam2": sam2, "init_desa2va": init_desa2va, "device": device, "dtype": dtype}
        return _load_adapter(adapter, base_model, **kwargs)
    if base_model is not None:
        raise ValueError(f"{os.fspath(name)!r} is a whole model, so it has no base_model; give an adapter's folder")
    path = locate(name)
    if dtype is None:
        dtype = torch.float32 if device.type == "cpu" else "auto"
    if kwargs.get("quantization_config") is not None and kwargs.get("device_map") is None:
        kwargs["device_map"] = {"": device}  # quantised weights are made where they stay
    kind = published_kind(path, **hub_options)
    if kind is not None:
        with only_errors("transformers"):
            model, processor = load_published(path, kind, sam2, init_desa2va, dtype=dtype, **kwargs)
    elif sam2 is not None or init_desa2va:
        raise ValueError(f"{path} is a DeSa2VA already; sam2 and init_desa2va go with published weights of others")
    else:
        model, processor = _load_own(resolve(path), dtype, hub_options, **kwargs)
    with named_in_errors(path, "model"):
        check_together(model, processor, path)
    if kwargs.get("device_map") is None:
        model = model.to(device)
    model.processor = processor
    return model.eval(), processor


def _load_adapter(
    folder: Path, base_model: str | os.PathLike | None, **options: Any
) -> tuple[DeSa2VAModel, DeSa2VAProcessor]:
    """The base model of an adapter, with the adapter merged into its weights."""
    if options.get("quantization_config") is not None:
        raise ValueError(f"{folder} is an adapter: merge it (`desa2va merge`), then load the merged model quantised")
    config, fields = read_adapter_config(folder)
    options.pop("revision", None)  # was the adapter's own
    if base_model is None and config.revision:
        options["revision"] = config.revision
    base = base_model or config.base_model_name_or_path
    if not base:
        raise ValueError(f"{folder}: adapter_config.json names no base model; give it as base_model (`--model`)")
    try:
        model, processor = load(base, **options, **fields)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"the base model of the adapter {folder} is not to be had: {error}; another copy may be named as "
            "base_model (`--model`)"
        ) from error
    return merge_adapter(model, folder, config).eval(), processor


def _one_dtype(dtype: str | torch.dtype | None, torch_dtype: str | torch.dtype | None) -> str | torch.dtype | None:
    """What both names of one argument say."""
    if dtype is None or torch_dtype is None:
        return torch_dtype if dtype is None else dtype
    if str(dtype).removeprefix("torch.") != str(torch_dtype).removeprefix("torch."):
        raise ValueError(f"dtype={dtype!s} and torch_dtype={torch_dtype!s} differ; they are one argument, give one")
    return dtype


def _load_own(
    path: str, dtype: str | torch.dtype, hub_options: dict[str, Any], **kwargs: Any
) -> tuple[DeSa2VAModel, DeSa2VAProcessor]:
    """A model of ours and its processor from a checked folder or Hub id."""
    if Path(path).is_dir():
        with named_in_errors(path, "model"):
            check_configuration(Path(path))
    with named_in_errors(path, "model"), only_errors("transformers"):
        loading = {"ignore_mismatched_sizes": True, **kwargs, "output_loading_info": True}
        model, info = DeSa2VAModel.from_pretrained(path, dtype=dtype, **loading)
    shapes = (f"{name} {tuple(found)} in place of {tuple(own)}" for name, found, own in info["mismatched_keys"])
    bad = sorted(info["missing_keys"]) + sorted(shapes)
    if bad:
        shown = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        raise ValueError(f"the checkpoint {path} lacks weights of the model or has them in another shape: {shown}")
    if info["unexpected_keys"]:
        known = sorted(info["unexpected_keys"])
        warnings.warn(f"{path} holds {len(known)} weights the model does not know, e.g. {known[0]}", stacklevel=3)
    with named_in_errors(path, "processor"):
        processor = DeSa2VAProcessor.from_pretrained(path, **hub_options)
    return model, processor


def export_model(
    out_dir: str | os.PathLike,
    model: str | os.PathLike = SHIPPED_MODEL,
    base_model: str | os.PathLike | None = None,
    dtype: str | torch.dtype = "auto",
) -> Path:
    """Write a self-contained folder: weights, processor, flat code with `auto_map`, and model card.

    The folder loads with `AutoModel` and `AutoProcessor` and `trust_remote_code=True` where this package is not
    installed, and can be uploaded as it is. Nothing is left behind when it fails half-way.

    Args:
        out_dir: Target; must be absent or empty.
        model: See `resolve`; an adapter is merged into its base model first.
        base_model: See `load`.
        dtype: Of the written weights; `"auto"` keeps the stored one.

    Returns:
        The written folder.

    Raises:
        FileExistsError: If the target is a file or holds files.
        FileNotFoundError: See `resolve`.
        ValueError: If the checkpoint lacks weights.
    """
    sources = [os.fspath(source) for source in (model, base_model) if source is not None]
    with output_folder(out_dir, sources=sources) as folder:
        source = find_adapter(model) or resolve(model)
        loaded, _ = load(source, device="cpu", dtype=dtype, base_model=base_model)
        for pattern in SIDE_FILES:
            for path in Path(source).glob(pattern):
                shutil.copyfile(path, folder / path.name)
        loaded.save_pretrained(folder)
        write_card(folder)
    return Path(out_dir).expanduser()


def convert_model(
    source: str | os.PathLike,
    out_dir: str | os.PathLike,
    sam2: str | os.PathLike | None = None,
    init_desa2va: bool = False,
    dtype: str | torch.dtype = "auto",
) -> Path:
    """Write published weights as a folder of ours: what `export_model` writes, ready to be trained or uploaded.

    Args:
        source, sam2, init_desa2va: See `load`.
        out_dir: Target; must be absent or empty.
        dtype: Of the written weights; the stored one by default.

    Returns:
        The written folder. Nothing is left behind when it fails half-way.

    Raises:
        FileExistsError: If the target is a file or holds files.
        FileNotFoundError, ValueError: See `load`.
    """
    names = [os.fspath(name) for name in (source, sam2) if name is not None]
    with output_folder(out_dir, sources=names) as folder:
        model, _ = load(source, sam2=sam2, init_desa2va=init_desa2va, device="cpu", dtype=dtype)
        # A folder of this machine means nothing elsewhere; the licence is that of the weights it came from.
        bases = [name for name in names if not Path(name).exists()]
        facts = {"base_models": bases, "license": "other"}
        (folder / SUMMARY_FILE).write_text(json.dumps(facts), encoding="utf-8")
        model.save_pretrained(folder)
        write_card(folder)
    return Path(out_dir).expanduser()


__all__ = ["SHIPPED_MODEL", "convert_model", "export_model", "load", "resolve"]
