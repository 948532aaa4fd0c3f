"""Write the code of a model or processor next to its weights, so that the folder loads where this package is absent.

What enters: a class of this package and a folder that `save_pretrained` wrote. What leaves: the module that defines
the class and every module of the package it imports, as flat sibling files, and an `auto_map` in the folder's JSON,
which is what `trust_remote_code=True` reads. (Engineering; no paper section.)

The source tree imports across rooms; the loader of remote code follows imports of the same folder only, by a regular
expression. In-package imports are therefore rewritten on the syntax tree to the one form it understands. The folders
inside a room become prefixes (`tracking/memory.py` -> `tracking_memory.py`, the door `tracking/__init__.py` ->
`tracking.py`), so file names stay unique. This module travels with the export and works there too: files that are flat
already are copied as they are.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import json
import logging
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_LOADER_PATTERN = re.compile(r"^\s*(?:from\s+\.(\S+)\s+import|import\s+\.(\S+)\s*$)", flags=re.MULTILINE)
_HEADER = "# Flat copy of the module {name}, written by `save_pretrained`; change the original, not this file.\n"


def _package_of(module: str) -> str:
    """Return the prefix that all modules of the code share: the import root, or the folder of flat remote code."""
    root = module.split(".")[0]
    return module.rpartition(".")[0] if root == "transformers_modules" else root


def _source_path(module: str) -> Path:
    """Return the source file of `module` without importing it twice."""
    loaded = sys.modules.get(module)
    origin = getattr(loaded, "__file__", None) if loaded else None
    if origin is None:
        spec = importlib.util.find_spec(module)
        origin = spec.origin if spec else None
    if origin is None:
        raise ImportError(f"the module {module} has no source file to export")
    return Path(origin)


def _is_door(module: str) -> bool:
    """Whether `module` is a package, i.e. its source is an `__init__.py`."""
    return _source_path(module).name == "__init__.py"


def flat_name(module: str, package: str) -> str:
    """Return the file name (without `.py`) of `module` in a flat folder: its path inside its room, joined.

    Args:
        module: Full name, e.g. `"desa2va.modeling_desa2va.tracking.memory"`.
        package: The import root, e.g. `"desa2va"`.

    Returns:
        E.g. `"tracking_memory"`.
    """
    parts = module[len(package) + 1 :].split(".")
    return "_".join(parts[1:] or parts)


def _absolute_name(node: ast.ImportFrom, module: str, package: str) -> str | None:
    """Return the full name of the module that `node` imports from, or `None` when it lies outside `package`."""
    if node.level:
        parents = node.level - 1 if _is_door(module) else node.level
        base = module.split(".")
        base = base[: len(base) - parents]
        return ".".join([*base, node.module] if node.module else base)
    name = node.module or ""
    return name if name == package or name.startswith(f"{package}.") else None


def _flat_statement(node: ast.ImportFrom, leaf: str) -> str:
    """Return `node` rewritten to import from the sibling file `leaf`, at most 119 columns wide."""
    indent = " " * node.col_offset
    names = [alias.name + (f" as {alias.asname}" if alias.asname else "") for alias in node.names]
    line = f"{indent}from .{leaf} import {', '.join(names)}\n"
    if len(line) <= 120:
        return line
    inner = "".join(f"{indent}    {name},\n" for name in names)
    return f"{indent}from .{leaf} import (\n{inner}{indent})\n"


@functools.lru_cache(maxsize=256)  # a training saves often, and its code stays
def flatten_source(source: str, module: str, package: str) -> tuple[str, tuple[str, ...]]:
    """Rewrite the in-package imports of one module to imports from sibling files.

    Args:
        source: Text of the module.
        module: Its full name, e.g. `"desa2va.processing.results"`.
        package: The import root, e.g. `"desa2va"`.

    Returns:
        The flat text, and the full names of the modules it imports from.

    Raises:
        ImportError: For an import that the loader of remote code can not follow: `import package.module`, a name taken
            from a room instead of one of its modules or doors, or text that only looks like a relative import.
    """
    lines = source.splitlines(keepends=True)
    targets, edits = [], []
    for node in ast.walk(ast.parse(source)):
        where = f"{module}, line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == package for alias in node.names):
            raise ImportError(f"{where}: use `from {package}.room.module import name`, not `import`")
        if not isinstance(node, ast.ImportFrom):
            continue
        target = _absolute_name(node, module, package)
        if target is None:
            continue
        if "." not in target[len(package) + 1 :] and _is_door(target):
            raise ImportError(f"{where}: import from the defining module, not from the room {target}")
        targets.append(target)
        edits.append((node, _flat_statement(node, flat_name(target, package))))
    for node, text in sorted(edits, key=lambda edit: -edit[0].lineno):
        lines[node.lineno - 1 : node.end_lineno] = [text]
    flat = "".join(lines)
    seen = {first or second for first, second in _LOADER_PATTERN.findall(flat)}
    ghosts = seen - {flat_name(target, package) for target in targets}
    if ghosts:
        raise ImportError(f"{module}: a line of text reads like a relative import of {sorted(ghosts)}; reword it")
    return flat, tuple(targets)


def collect_flat_sources(entry: str) -> dict[str, str]:
    """Return file name -> flat text for the module `entry` and everything of its package that it imports.

    Args:
        entry: Full name of an imported module of the package (or of flat remote code).

    Returns:
        A dict such as `{"modeling_desa2va.py": "..."}`.

    Raises:
        ImportError: See `flatten_source`; also when two modules would flatten to the same file name.
    """
    package = _package_of(entry)
    names: dict[str, str] = {}
    sources: dict[str, str] = {}
    todo = [entry]
    while todo:
        module = todo.pop()
        leaf = flat_name(module, package)
        if names.get(leaf) == module:
            continue
        if leaf in names:
            raise ImportError(f"{names[leaf]} and {module} both flatten to {leaf}.py; rename one")
        names[leaf] = module
        text = _source_path(module).read_text(encoding="utf-8")
        if not package.startswith("transformers_modules"):
            text = _HEADER.format(name=module) + text
        sources[f"{leaf}.py"], targets = flatten_source(text, module, package)
        todo.extend(targets)
    return sources


def write_code(
    folder: str | os.PathLike,
    entry: str,
    json_name: str,
    auto_classes: dict[str, str],
    pipelines: dict[str, str] | None = None,
) -> list[Path]:
    """Write the flat code of `entry` into `folder` and name its classes in the `auto_map` of `json_name`.

    Args:
        folder: An existing folder with the configuration that `save_pretrained` wrote.
        entry: Full name of the module that holds (or imports) the classes.
        json_name: `"config.json"` or `"processor_config.json"`.
        auto_classes: Auto class -> class name, e.g. `{"AutoModel": "DeSa2VAModel"}`. All are reached through the file
            of `entry`: the loader gives every entry file its own copy of the code, and the configuration class must be
            the very one that the model's file knows.
        pipelines: Task of `transformers.pipeline` -> class name, likewise; named as `custom_pipelines`.

    Returns:
        The written Python files.

    Raises:
        FileNotFoundError: If `json_name` is not in the folder.
    """
    folder = Path(folder)
    config_path = folder / json_name
    if not config_path.is_file():
        raise FileNotFoundError(f"{config_path} does not exist; code is written next to a saved configuration")
    written = []
    for name, text in collect_flat_sources(entry).items():
        _write(folder / name, text)
        written.append(folder / name)
    config = json.loads(config_path.read_text(encoding="utf-8"))
    leaf = flat_name(entry, _package_of(entry))
    config["auto_map"] = {auto: f"{leaf}.{name}" for auto, name in auto_classes.items()}
    if pipelines:
        config["custom_pipelines"] = {
            task: {"impl": f"{leaf}.{name}", "pt": ["AutoModel"]} for task, name in pipelines.items()
        }
    _write(config_path, json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    return written


def _write(path: Path, text: str) -> None:
    """Write a file beside its place and move it there: a kill must not leave an empty `config.json`."""
    draft = path.with_name(f".{path.name}.writing")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _write_card(folder: Path) -> None:
    """Render the model card when the package is installed; remote code without the package writes none."""
    try:
        card = importlib.import_module("desa2va.card")
    except ImportError:
        logger.info("the package desa2va is not installed: no model card written to %s", folder)
        return
    card.write_card(folder)


class FlatExportMixin:
    """Make `save_pretrained` and `push_to_hub` produce a folder that loads without this package.

    Put it before the transformers base class. A subclass states `_export_json` (the JSON that carries its `auto_map`)
    and `_export_classes` (auto class -> class name); of a model also `_export_pipelines` (task -> class name).

    Attributes:
        processor: On a model: the processor to be saved with it, or `None`. `desa2va.load` and the trainer set it, so
            that `model.save_pretrained(folder)` alone writes everything a user of the folder needs.
    """

    _export_json: str = "config.json"
    _export_classes: dict[str, str] = {}
    _export_pipelines: dict[str, str] = {}
    processor: Any = None

    def _export_entry(self) -> str:
        """Return the module that defines the exported class, also when `self` is of a user's subclass."""
        wanted = set(self._export_classes.values())
        return next(cls.__module__ for cls in type(self).__mro__ if cls.__name__ in wanted)

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, push_to_hub: bool = False, **kwargs: Any):
        """Save as transformers does, then add the flat code, the attached processor and the model card.

        Args:
            save_directory: Target folder; created when absent.
            *args: Passed on to transformers.
            push_to_hub: Upload the folder afterwards; `repo_id` (default: the folder's name), `token`, `private`,
                `revision`, `commit_message` and `create_pr` may be given.
            **kwargs: Passed on to transformers.

        Returns:
            What transformers returns.
        """
        folder = Path(save_directory)
        hub_names = ("repo_id", "token", "private", "revision", "commit_message", "create_pr")
        hub = {name: kwargs.pop(name) for name in hub_names if push_to_hub and name in kwargs}
        result = super().save_pretrained(str(folder), *args, **kwargs)
        main_process = kwargs.get("is_main_process", args[0] if args else True)
        if main_process and (folder / self._export_json).is_file():
            write_code(folder, self._export_entry(), self._export_json, self._export_classes, self._export_pipelines)
            if self.processor is not None:
                self.processor.save_pretrained(str(folder))
            if self._export_json == "config.json":
                _write_card(folder)
            if push_to_hub:
                self._upload(folder, hub.pop("repo_id", folder.resolve().name), **hub)
        return result

    def push_to_hub(self, repo_id: str, *, max_shard_size: int | str | None = None, **hub_options: Any) -> str:
        """Upload weights, code, processor and card to the Hub.

        The method of transformers writes a stub over the model card; this one uploads exactly what `save_pretrained`
        wrote.

        Args:
            repo_id: `"name"` or `"owner/name"`; created when absent.
            max_shard_size: Largest weight file; transformers' default when `None`.
            **hub_options: `token`, `private`, `revision`, `commit_message`, `create_pr`.

        Returns:
            The address of the commit.
        """
        saving = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, **saving)
            return self._upload(Path(folder), repo_id, **hub_options)

    @staticmethod
    def _upload(folder: Path, repo_id: str, *, token: Any = None, private: bool | None = None, **commit: Any) -> str:
        """Create the repository when absent and upload the folder as one commit.

        Raises:
            PermissionError: a token that may not write there, or none.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        api = HfApi(token=token)
        commit.setdefault("commit_message", "Upload the model")
        try:
            whole_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            return str(api.upload_folder(repo_id=whole_id, folder_path=str(folder), **commit))
        except HfHubHTTPError as error:
            if error.response.status_code not in (401, 403):
                raise
            raise PermissionError(
                f"the Hub lets this token not write to {repo_id!r}; log in with one that may (`hf auth login`), or "
                "give it as token="
            ) from error


__all__ = ["FlatExportMixin", "collect_flat_sources", "flatten_source", "write_code"]
