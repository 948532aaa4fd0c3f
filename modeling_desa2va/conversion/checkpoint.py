"""The files of a checkpoint folder: `config.json` and the weights it holds, whole or in shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def read_json_object(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file.

    Raises:
        ValueError: the file is absent, not JSON, or holds no mapping.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} can not be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(value).__name__}")
    return value


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder.

    Raises:
        FileNotFoundError: there are none, or the index names one that is absent. ValueError: an index without
            `weight_map`.
    """
    if (folder / _WHOLE).is_file():
        return [folder / _WHOLE]
    index = folder / _INDEX
    if not index.is_file():
        raise FileNotFoundError(f"{folder} holds neither {_WHOLE} nor {_INDEX}")
    names = read_json_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{index} has no weight_map")
    files = [folder / str(name) for name in sorted(set(names.values()))]
    for file in files:
        if not file.is_file() or file.parent != folder:
            raise FileNotFoundError(f"{index} names the shard {file.name}, which is not in {folder}")
    return files


__all__ = ["read_json_object", "weight_files"]
