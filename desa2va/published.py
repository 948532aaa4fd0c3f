"""Published weights by name: a Sa2VA, or a language model with a SAM-2, as a model of ours with its processor.

What enters: a folder or a Hub id whose `config.json` is not ours. What leaves: what `load` returns. Only weights,
configurations and tokenizers are fetched; remote code is neither fetched nor run. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from torch import nn

from desa2va.modeling_desa2va.conversion import (
    LANGUAGE_TYPES,
    SA2VA_MODEL_TYPE,
    load_pair,
    load_sa2va,
    pair_processor,
    read_json_object,
    read_tokenizer,
    sa2va_processor,
    sa2va_tokenizer,
)
from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
from desa2va.processing.processing_desa2va import DeSa2VAProcessor

from .model_files import check_hub, locate

OWN_TYPE = "desa2va"
_FILES = [
    "*config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer.json", "tokenizer.model", "vocab.json",
    "merges.txt", "added_tokens.json", "special_tokens_map.json", "chat_template.*",
]  # fmt: skip
_HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only")


def published_type(config_file: Path) -> str | None:
    """The model type of published weights; `None` for a model of ours, and where the file can not tell.

    Raises:
        ValueError: an architecture that is not supported; the message names those that are.
    """
    try:
        kind = json.loads(config_file.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None  # whoever reads the folder as one of ours says what is wrong with it
    if kind is None or kind == OWN_TYPE:
        return None
    if kind == SA2VA_MODEL_TYPE or kind in LANGUAGE_TYPES:
        return kind
    raise ValueError(
        f"{config_file}: model_type={kind!r:.60} is not supported; {OWN_TYPE}, {SA2VA_MODEL_TYPE} (Sa2VA) and, with a "
        f"SAM-2 beside it, {', '.join(LANGUAGE_TYPES)} are"
    )


def published_kind(name: str, **hub: Any) -> str | None:
    """The model type of published weights called `name`, see `published_type`.

    Args:
        name: see `locate`. hub: `revision`, `token`, `cache_dir`, `local_files_only`.

    Raises:
        ValueError: see `published_type`. FileNotFoundError: no such folder, or a Hub id that can not be read.
    """
    path = locate(name)
    return published_type(Path(path) / "config.json" if Path(path).is_dir() else check_hub(path, **hub))


def load_published(
    name: str, kind: str, sam2: str | os.PathLike | nn.Module | None, init_desa2va: bool, **options: Any
) -> tuple[DeSa2VAModel, DeSa2VAProcessor]:
    """A Sa2VA, or a language model with the SAM-2 beside it.

    Args:
        name: folder or Hub id. kind: see `published_type`. sam2: folder, `.pt` file or Hub id.
        init_desa2va: read a Sa2VA as the start of a DeSa2VA. options: of the Hub and of `from_pretrained`.

    Raises:
        ValueError: damaged or incomplete weights, parts that do not fit. FileNotFoundError: files are absent.
    """
    hub = {option: options.pop(option) for option in _HUB_OPTIONS if option in options}
    folder = _folder(name, **hub)
    hub.pop("revision", None)
    tracker = _sam2_place(sam2, **hub)
    if kind == SA2VA_MODEL_TYPE:
        tokenizer = sa2va_tokenizer(folder, read_json_object(folder / "config.json"))
        model = load_sa2va(folder, tokenizer, tracker, init_desa2va, **options)
        return model, sa2va_processor(folder, model.config.image_size)
    if init_desa2va:
        raise ValueError(f"init_desa2va starts from a Sa2VA; {name} is a {kind}, which starts a DeSa2VA as it is")
    if tracker is None:
        raise ValueError(
            f"{name} is a {kind}, which draws no masks: give a SAM-2 beside it (sam2=..., --sam2), for instance "
            "facebook/sam2.1-hiera-large"
        )
    tokenizer = read_tokenizer(folder)
    model = load_pair(folder, tracker, tokenizer, **options)
    return model, pair_processor(folder, tokenizer, model.config)


def _folder(name: str, **hub: Any) -> Path:
    """The folder, or the files of a Hub id in the cache."""
    if Path(name).is_dir():
        return Path(name)
    check_hub(name, **hub)
    return Path(snapshot_download(name, allow_patterns=_FILES, **hub))


def _sam2_place(sam2: str | os.PathLike | nn.Module | None, **hub: Any) -> Path | nn.Module | None:
    if sam2 is None or isinstance(sam2, nn.Module):
        return sam2
    path = Path(os.path.expanduser(sam2))
    return path if path.exists() else _folder(locate(sam2), **hub)


__all__ = ["load_published", "published_kind", "published_type"]
