"""The package as a whole: what an import brings along and what a wheel contains."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import desa2va
from desa2va.commands import doctor
from desa2va.errors import ASK_THE_DOCTOR

ROOT = Path(desa2va.__file__).resolve().parent.parent
ROOMS = ("configuration", "processing", "modeling_desa2va", "training", "eval", "annotation")


def run_python(code: str, cwd: Path = ROOT) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_import_is_cheap_and_brings_no_stray_packages():
    """`import desa2va` must not load torch, nor put `training` or `eval` beside other packages of that name."""
    code = "import sys, desa2va; print(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    loaded = set(run_python(code).split())
    assert "desa2va" in loaded
    assert not loaded & {"torch", "transformers", *ROOMS}


@pytest.fixture
def broken_torchvision(tmp_path, monkeypatch):
    """What a torchvision says that stands before the installed one and was built for another torch."""
    said = "operator torchvision::nms does not exist"
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(f"raise RuntimeError({said!r})\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', ROOT)}")
    return f"RuntimeError: {said}"


@pytest.mark.parametrize(
    "words", ["try: desa2va.load", "try: import desa2va.hub", "try: desa2va.DeSa2VAModel", "try: import desa2va.auto"]
)
def test_a_torchvision_of_another_torch_is_named(words, broken_torchvision):
    """transformers says "Could not import module 'AutoProcessor'" and nothing of what is wrong."""
    line = run_python(f"import desa2va\n{words}\nexcept ImportError as error: print(error)")
    assert line == f"an installed package does not import ({broken_torchvision}); {ASK_THE_DOCTOR}"


def test_commands_name_a_torchvision_of_another_torch(broken_torchvision):
    """The doctor's line about the model was transformers' own."""
    code = (
        "import sys\n"
        "from desa2va.cli import main\n"
        "sys.stderr = sys.stdout\n"
        "assert main(['train', 'tiny']) == 2\n"
        "assert main(['doctor', '--device', 'cpu']) == 1"
    )
    text = run_python(code)
    assert "Could not import module" not in text
    lines = text.split("\n")
    assert lines[0].endswith(f"an installed package does not import ({broken_torchvision}); {ASK_THE_DOCTOR}")
    (place,) = (number for number, line in enumerate(lines) if line.startswith("WRONG  model"))
    assert lines[place].endswith(f"an installed package does not import ({broken_torchvision})")
    assert "mend what is wrong above" in lines[place + 1]


def test_lazy_exports_resolve_under_the_package_only_and_are_registered():
    """A wrong path in the table of exports shows only when the name is used; and with the package in use `AutoConfig`
    must know the model type without remote code, after the first of the names. peft, half a second of imports, is for
    adapters.
    """
    code = (
        "import sys, desa2va\n"
        "from desa2va import DeSa2VAConfig\n"
        "from transformers import AutoConfig, AutoModel\n"
        "config = AutoConfig.for_model('desa2va')\n"
        "assert type(config) is DeSa2VAConfig\n"
        "print(AutoModel._model_mapping[DeSa2VAConfig].__module__)\n"
        "for name in desa2va.__all__: assert getattr(desa2va, name) is not None, name\n"
        f"print(sorted(set(sys.modules) & {{*{ROOMS!r}, 'peft'}}))"
    )
    assert run_python(code).split("\n") == ["desa2va.modeling_desa2va.modeling_desa2va", "[]"]


def test_unknown_name_says_what_there_is():
    """A misspelled import should teach."""
    with pytest.raises(AttributeError, match="DeSa2VAModel"):
        desa2va.DeSa2VaModel  # noqa: B018


def test_python_versions_are_declared_alike():
    """Guards against classifiers, README, ruff and the table of what was run that tell users different things."""
    names = ("pyproject.toml", "README.md", "docs/backbones.md")
    project, readme, backbones = ((ROOT / name).read_text(encoding="utf-8") for name in names)
    minors = [int(minor) for minor in re.findall(r"Python :: 3\.(\d+)\"", project)]
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert f'requires-python = ">=3.{minors[0]}"' in project
    assert f'target-version = "py3{minors[0]}"' in project
    assert f"Python 3.{minors[0]} to 3.{minors[-1]}" in readme
    assert {int(minor) for minor in re.findall(r"^\| 3\.(\d+) \|", backbones, re.MULTILINE)} == set(minors)
    assert sys.version_info.minor in minors


def test_the_doctor_knows_the_versions_that_were_run():
    """Guards against a doctor that calls a release untested, or too old, where the table of runs says otherwise."""
    project, backbones = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "docs/backbones.md")
    )
    runs = re.findall(r"^\| 3\.\d+ \| (\d+)\.(\d+)\.\d+ ", backbones, re.MULTILINE)
    releases = sorted((int(major), int(minor)) for major, minor in runs)
    oldest, newest = (f"{major}.{minor}" for major, minor in (releases[0], releases[-1]))
    assert (oldest, newest) == (doctor._OLDEST_TRANSFORMERS, doctor._TESTED_TRANSFORMERS)
    assert f'"transformers>={oldest}"' in project
    assert f'"torch>={doctor._OLDEST_TORCH}"' in project


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources, so that nothing is left in the checkout."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    source.mkdir()
    for name in ("desa2va", *ROOMS):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"):
        shutil.copy(ROOT / name, source / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-q",
        "-w",
        str(work),
        ".",
    ]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(work.glob("*.whl"))


def test_wheel_installs_one_import_name(wheel):
    """The folders at the root have generic names; in site-packages they would overwrite other people's."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"desa2va"}
    assert wheel.name.endswith("-py3-none-any.whl")
    for room in ROOMS:
        assert f"desa2va/{room}/__init__.py" in names


def test_wheel_carries_every_module_and_asset(wheel):
    """A module or asset missing from the wheel is noticed only after an install elsewhere."""
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        (path.relative_to(ROOT) if room == "desa2va" else Path("desa2va") / path.relative_to(ROOT)).as_posix()
        for room in ("desa2va", *ROOMS)
        for path in (ROOT / room).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix in {".py", ".jinja", ".yaml", ".safetensors", ".json", ".txt"}
    }
    assert "desa2va/templates/model_card.md.jinja" in expected
    assert expected <= names
