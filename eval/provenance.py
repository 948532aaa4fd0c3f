"""What a score was measured with: model, weights, versions, device.

A model (and the folder it was loaded from) enters, plain values for a report leave. (Engineering; no paper section.)
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import desa2va
from desa2va.modeling_desa2va.devices import execution_device

_LIBRARIES = ("torch", "transformers", "numpy")


def describe_run(model: Any) -> dict[str, Any]:
    """Versions, numeric type, device and mode.

    Args:
        model: a `DeSa2VAModel`.
    """
    parameters = list(model.parameters())
    device = execution_device(model)
    hardware = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    )
    return {
        "prompt_mode": model.config.prompt_mode,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "dtype": str(parameters[0].dtype).removeprefix("torch."),
        "device": str(device),
        "hardware": hardware,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "desa2va": desa2va.__version__,
        **{name: metadata.version(name) for name in _LIBRARIES},
    }


def weights_sha256(folder: str | os.PathLike) -> str:
    """SHA-256 of the weights in a model folder: of its one safetensors file, or of all of them in order of names.

    Raises:
        FileNotFoundError: the folder holds no safetensors file.
    """
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"the folder {os.fspath(folder)} holds no *.safetensors file")
    return files_sha256(files)


def sam2_sha256(sam2: str | os.PathLike | None) -> str | None:
    """SHA-256 of the weights of the SAM-2 beside a published model; `None` where there is none beside it.

    Args:
        sam2: folder, original `.pt` file or Hub id that was loaded.

    Raises:
        FileNotFoundError: the folder holds no weights.
    """
    if sam2 is None:
        return None
    path = Path(os.path.expanduser(sam2))
    if path.is_file():
        return files_sha256([path])
    # As it is loaded: without a config.json the folder is one of an original file.
    if path.is_dir() and not (path / "config.json").is_file():
        return files_sha256(sorted(file for file in path.iterdir() if file.suffix in (".pt", ".pth")))
    return weights_sha256(path if path.is_dir() else model_folder(os.fspath(sam2)))


def files_sha256(files: Iterable[str | os.PathLike]) -> str | None:
    """SHA-256 of the contents of files, one behind another.

    Args:
        files: what is no file (a folder of pictures beside annotations, say) is passed over.

    Returns:
        64 hexadecimal digits; `None` without any file.
    """
    found = [file for file in map(Path, files) if file.is_file()]
    digest = hashlib.sha256()
    for file in found:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest() if found else None


def model_folder(resolved: str) -> str:
    """The folder of a loaded model: `resolved` (of `locate`), or where the Hub's cache keeps a Hub id's weights."""
    if Path(resolved).is_dir():
        return resolved
    from huggingface_hub import snapshot_download

    return snapshot_download(resolved, allow_patterns="*.safetensors", local_files_only=True)


__all__ = ["describe_run", "files_sha256", "model_folder", "sam2_sha256", "weights_sha256"]
