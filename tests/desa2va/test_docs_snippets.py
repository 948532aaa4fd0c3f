"""Pages that promise snippets which run: they do, from top to bottom, in a folder with the bundled inputs."""

import re
import shutil
from pathlib import Path

import pytest

import desa2va

ROOT = Path(desa2va.__file__).resolve().parent.parent
DEMO = Path(desa2va.__file__).resolve().parent / "assets" / "demo"


@pytest.mark.parametrize("page", ["tasks.md", "conversations.md"])
def test_snippets_run(page, shipped, tmp_path, monkeypatch):
    """A snippet with an argument that is no longer taken, or an attribute that results lost."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(desa2va, "load", lambda model="desa2va-tiny": shipped, raising=False)
    for name, source in {"scene.png": "scene.png", "clip.mp4": "clip.mp4", "long.mp4": "clip.mp4"}.items():
        shutil.copy(DEMO / source, name)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    names = {"__name__": page}
    for block in blocks:
        exec(block, names)
