"""Every example runs on the shipped model: an example that nothing runs passes arguments that no longer exist."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

import desa2va

FOLDER = Path(desa2va.__file__).resolve().parent.parent / "examples"
DEMO = Path(desa2va.__file__).resolve().parent / "assets" / "demo"
# Arguments without which a script does not start, what it prints, and what it leaves in an empty folder.
SCRIPTS = {
    "segment_picture": ([], "'the yellow star'", ["found_0.png", "found_1.png", "found_2.png"]),
    "segment_video": ([], "on ", ["video_found/overlay.mp4", "video_found/coco.json", "video_found/masks/00000.png"]),
    "converse": ([], "> How many triangles are there?", ["talk.png"]),
    "refuse": (["--limit", "24"], "after: 'the red object': ok, score ", []),
    "check_masks": ([], "'the cross': agreement ", ["checked.json"]),
    "caption_with_masks": ([], "with masks:", ["caption.png"]),
    "describe_region": ([], "pixels of their masks:", ["regions.png"]),
    "find_all": ([], "'all triangles'", ["set_words.png", "set_like.png"]),
    "watch_camera": ([], "'the cross':", ["watched/00000.png"]),
    "explain_mask": ([], "gate ", ["why.png"]),
    "interactive_session": (
        [str(DEMO / "clip.mp4"), "the red object"],
        "corrected by a box",
        ["session_demo/00000.png", "session_demo/session.desa2va"],
    ),
}
FIGURES = {"readme_figures", "task_figures"}


@pytest.fixture
def empty_folder(tmp_path, monkeypatch, shipped):
    """An empty working directory, and the loaded model in place of another load of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped[0].config, "target_calibration", None)  # a script that sets it, sets it for itself
    monkeypatch.setattr(desa2va, "load", lambda model="desa2va-tiny", *, device=None: shipped, raising=False)
    return tmp_path


def script(name):
    """The module of an example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_script_is_run_and_short():
    """A new example that no test runs."""
    paths = sorted(FOLDER.glob("*.py"))
    assert {path.stem for path in paths} == {*SCRIPTS, *FIGURES}
    assert not [path.name for path in paths if len(path.read_text(encoding="utf-8").splitlines()) >= 100]


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name, empty_folder, capsys):
    arguments, printed, left = SCRIPTS[name]
    script(name).main(arguments)
    assert printed in capsys.readouterr().out
    assert not [file for file in left if not (empty_folder / file).stat().st_size]


def test_scripts_leave_the_model_as_it_was(empty_folder, shipped):
    """The session's example left a hook on the image encoder, which went on counting."""
    before = [len(module._forward_pre_hooks) for module in shipped[0].modules()]
    script("interactive_session").main([str(DEMO / "clip.mp4"), "the red object"])
    assert [len(module._forward_pre_hooks) for module in shipped[0].modules()] == before


def test_figures_of_the_tasks(empty_folder, monkeypatch):
    """docs/tasks.md shows what the script draws; a task that fell out of it would keep an old picture."""
    monkeypatch.syspath_prepend(FOLDER)
    script("task_figures").main(["--out", "drawn"])
    shown = FOLDER.parent / "docs" / "images" / "tasks"
    assert {path.name for path in Path("drawn").iterdir()} == {path.name for path in shown.iterdir()}
    page = (FOLDER.parent / "docs" / "tasks.md").read_text(encoding="utf-8")
    assert not [path.name for path in shown.iterdir() if f"(images/tasks/{path.name})" not in page]


def test_notebook_runs_from_top_to_bottom(empty_folder):
    """A notebook with a cell that needs one run before it, or that keeps outputs of another version."""
    notebook = json.loads((FOLDER / "tour.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    names = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        exec("".join(cell["source"]), names)
    assert os.listdir(empty_folder)
