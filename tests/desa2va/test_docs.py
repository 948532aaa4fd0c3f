"""README and docs against the program: links that exist, commands that parse, the page index complete."""

import re
import shlex
from pathlib import Path

import pytest

import desa2va
from desa2va.cli import COMMANDS, build_parser

ROOT = Path(desa2va.__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_exist(page):
    """A moved file leaves dead links behind."""
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    dead = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not dead


def test_every_page_is_in_the_index():
    """A page nobody links to is not read."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert not [
        page.name for page in PAGES if page.parent.name == "docs" and f"({page.name})" not in index + "(README.md)"
    ]


def commands_of(page):
    """The `desa2va ...` lines of the shell blocks of a page, without comments."""
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("desa2va ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_commands_parse(page):
    """A README that names an option the parser does not take is worse than none."""
    for words in commands_of(page):
        if "--help" in words:
            continue
        args, unknown = build_parser().parse_known_args(words)
        assert args.passes_on if unknown else args.run, words


def test_every_task_has_a_command_and_a_script():
    """A task that one can not reach from the shell, or whose script is gone."""
    lines = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| [")]
    assert len(rows) == 12
    for task, _, shell, scripts in rows:
        commands = [code for code in re.findall(r"`([^`]+)`", shell) if code.split()[0] in COMMANDS]
        assert commands or "the same" in shell, task
        for command in commands:
            args, unknown = build_parser().parse_known_args(shlex.split(command))
            assert args.run
            assert not unknown, command
        for script in re.findall(r"`([^`]+)`", scripts):
            assert (ROOT / "examples" / script).is_file(), script


def test_readme_names_the_two_commands_and_they_exist():
    """A newcomer starts with them, and continuous integration calls the second."""
    readme, makefile = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile"))
    for command in ("demo", "test"):
        assert f"make {command}" in readme
        assert re.search(rf"^{command}:", makefile, flags=re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_exported_name_is_documented():
    """The public names of the package must say what they are."""
    for name in desa2va.__all__:
        value = getattr(desa2va, name)
        assert isinstance(value, str) or value.__doc__, name
