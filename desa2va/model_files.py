"""From a name to files that are fit to be read as a model: a folder that is whole, or a Hub id that can be reached.

What enters: what a user calls a model, and a device. What leaves: a checked folder or Hub id, or one sentence that
says which file or name is wrong. Nothing large is read. (Engineering; no paper section.)
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import errors, hf_hub_download
from safetensors import SafetensorError, safe_open

SHIPPED_MODEL = "desa2va-tiny"
_ASSETS = Path(__file__).resolve().parent / "assets"
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_HUB_ID = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


def resolve(name_or_path: str | os.PathLike) -> str:
    """Turn a model name into something `from_pretrained` accepts.

    A name that can not be a Hub id, or whose first folder exists here (`runs/x` beside a folder `runs`), is a path:
    the Hub is not asked for it.

    Args:
        name_or_path: `"desa2va-tiny"`, a local folder, or a Hub id such as `"owner/name"`.

    Returns:
        A checked local folder, or the Hub id unchanged.

    Raises:
        FileNotFoundError: If it names a local folder that is absent or lacks configuration, processor or weights.
        ValueError: If one of the folder's files is damaged.
    """
    place = locate(name_or_path)
    return str(_checked_folder(Path(place))) if Path(place).is_dir() else place


def locate(name_or_path: str | os.PathLike) -> str:
    """A folder, not yet looked into, or a Hub id; see `resolve`.

    Raises:
        FileNotFoundError: If it names a local folder that is absent.
    """
    name = os.fspath(name_or_path)
    path = Path(os.path.expanduser(name))
    if path.is_dir():
        return str(path)
    if name == SHIPPED_MODEL:
        return str(_ASSETS / SHIPPED_MODEL)
    owner = Path(name).parts[0] if len(Path(name).parts) > 1 else None
    if not _HUB_ID.fullmatch(name) or path.exists() or (owner is not None and Path(owner).exists()):
        raise FileNotFoundError(
            f"there is no folder {name!r}; give {SHIPPED_MODEL!r}, an existing model folder, or a Hub id 'owner/name'"
        )
    return name


def _checked_folder(folder: Path) -> Path:
    """Raise unless `folder` holds configuration, processor and weights that can be read."""
    missing = [name for name in ("config.json", "processor_config.json") if not (folder / name).is_file()]
    if not any(list(folder.glob(pattern)) for pattern in _WEIGHTS):
        missing.append("*.safetensors")
    if missing:
        raise FileNotFoundError(
            f"the folder {folder} is no DeSa2VA model: {', '.join(missing)} missing; "
            "save model and processor into one folder, or run `desa2va export`"
        )
    for path in (*folder.glob("*config.json"), *folder.glob("tokenizer.json"), *folder.glob(_WEIGHTS[1])):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is no JSON ({error}); take another copy of the model") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path} must hold a JSON object, found a {type(content).__name__}")
    for path in folder.glob(_WEIGHTS[0]):
        try:
            with safe_open(path, "pt"):
                pass
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged or cut off ({error}); take another copy of the weights") from error
    return folder


@contextmanager
def named_in_errors(path: str, what: str) -> Iterator[None]:
    """Names the model in whatever goes wrong inside: what its files hold can drive the libraries into any error.

    Args:
        path: of the model.
        what: is read, e.g. `"processor"`.

    Raises:
        ValueError: in place of every other error but those that name file and reason themselves, and lack of memory.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, FileNotFoundError):
        raise
    except Exception as error:
        kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        raise ValueError(f"the {what} in {path} can not be read ({kind}{error})") from error


@contextmanager
def only_errors(library: str) -> Iterator[None]:
    """Inside, a library logs errors alone: of reports and retries the caller says the one line that matters."""
    log = logging.getLogger(library)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def check_hub(name: str, **options: Any) -> Path:
    """Raise one clear error where a Hub id can not be read, before transformers asks for every file in turn.

    Args:
        name: `"owner/name"`.
        **options: `revision`, `token`, `cache_dir`, `local_files_only`.

    Returns:
        Its `config.json` in the cache.

    Raises:
        FileNotFoundError: If it does not exist, is private or gated, or can not be reached and is not in the cache.
    """
    try:
        with only_errors("huggingface_hub"):
            return Path(hf_hub_download(name, "config.json", **options))
    except errors.GatedRepoError as error:
        reason, cause = "asks for your consent: accept its terms on its page, then `hf auth login`", error
    except errors.RevisionNotFoundError as error:
        reason, cause = f"has no revision {options.get('revision')!r}", error
    except errors.RepositoryNotFoundError as error:
        reason, cause = "does not exist, or is private and you are not logged in (`hf auth login`)", error
    except errors.LocalEntryNotFoundError as error:
        reason, cause = "can not be reached, and no copy is in the cache; is this machine offline?", error
    except errors.EntryNotFoundError as error:
        reason, cause = "has no config.json, so it holds no model", error
    except errors.HfHubHTTPError as error:
        refused = error.response.status_code in (401, 403)
        reason = "refuses the token: log in with another (`hf auth login`)" if refused else "answers with an error"
        cause = error
    except (OSError, ValueError) as error:
        reason, cause = f"can not be read ({type(error).__name__})", error
    raise FileNotFoundError(
        f"there is no folder {name!r}, and the Hub's {name!r} {reason}; {SHIPPED_MODEL!r} works offline"
    ) from cause


def checked_device(device: str | torch.device | None) -> torch.device:
    """The device a model is to run on; CUDA where present, else the CPU, when `None`.

    Raises:
        ValueError: If this machine has no such device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        if found.type == "meta":
            raise RuntimeError("meta holds no numbers")
        torch.ones(1, device=found).add_(1)
    # An absent back end raises whatever it likes: RuntimeError, AssertionError, NotImplementedError, ImportError.
    except Exception as error:
        count = torch.cuda.device_count()
        usable = ["cpu", *(f"cuda:{number}" for number in range(count))]
        usable += ["mps"] * torch.backends.mps.is_available()
        raise ValueError(f"there is no device {str(device)!r} here; this machine has {', '.join(usable)}") from error
    return found


def checked_dtype(dtype: str | torch.dtype | None) -> str | torch.dtype | None:
    """A floating type by its name or as it is; `None` and `"auto"` are passed on.

    Raises:
        ValueError: If weights can not be of this type.
    """
    if dtype is None or dtype == "auto":
        return dtype
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        raise ValueError(f"dtype={dtype!r:.40} is no type of weights; choose float32, bfloat16, float16 or auto")
    return found


__all__ = [
    "SHIPPED_MODEL",
    "check_hub",
    "checked_device",
    "checked_dtype",
    "locate",
    "named_in_errors",
    "only_errors",
    "resolve",
]
