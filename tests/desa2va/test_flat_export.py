"""The rewriting of in-package imports to flat sibling files."""

import ast
import json
import re
import subprocess
import sys

import pytest

from desa2va.flat_export import collect_flat_sources, flatten_source, write_code

# What the loader of remote code takes for a relative import: by pattern, also inside strings.
LOADER = re.compile(r"^\s*from\s+\.(\S+)\s+import", flags=re.MULTILINE)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two rooms that import each other's modules in every allowed form."""
    root = tmp_path / "toy_house"
    for room in ("", "ground", "upper"):
        (root / room).mkdir(exist_ok=True)
        (root / room / "__init__.py").write_text("")
    (root / "ground" / "stone.py").write_text('"""Stone."""\nimport json\n\nVALUE = json.loads("7")\n')
    (root / "ground" / "brick.py").write_text('"""Brick."""\nfrom .stone import VALUE as BASE\n\nTWICE = 2 * BASE\n')
    (root / "upper" / "roof.py").write_text(
        '"""Roof."""\nfrom __future__ import annotations\n\nfrom toy_house.ground.brick import (\n    TWICE,\n)\n\n\n'
        "def height():\n    from toy_house.ground.stone import VALUE\n\n    return TWICE + VALUE\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield root
    for name in [name for name in sys.modules if name.split(".")[0] == "toy_house"]:
        del sys.modules[name]


def test_flat_files_run_where_the_package_is_absent(package, tmp_path):
    """Guards against an import left pointing into the package (at the top, in parentheses, inside a function)."""
    sources = collect_flat_sources("toy_house.upper.roof")
    assert sorted(sources) == ["brick.py", "roof.py", "stone.py"]
    flat = tmp_path / "elsewhere" / "flat"
    flat.mkdir(parents=True)
    (flat / "__init__.py").write_text("")
    for name, text in sources.items():
        (flat / name).write_text(text)
    code = f"import sys; sys.path.insert(0, {str(flat.parent)!r}); from flat.roof import height; print(height())"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "21"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import toy_house.ground.stone\n", "use `from"),
        ("from toy_house.ground import stone\n", "defining module"),
        ("from toy_house import ground\n", "defining module"),
        ("from . import stone\n", "defining module"),
        ('"""Text.\n\nfrom .ghost import this is prose\n"""\n', "ghost"),
    ],
)
def test_imports_the_loader_cannot_follow_are_errors(package, source, message):
    """Such a file would be exported and fail only on somebody else's machine."""
    with pytest.raises(ImportError, match=message):
        flatten_source(source, "toy_house.upper.roof", "toy_house")


def test_two_modules_of_one_name_are_an_error(package):
    """Flat, the second would overwrite the first."""
    (package / "upper" / "stone.py").write_text('"""Another stone."""\nVALUE = 8\n')
    (package / "upper" / "wall.py").write_text("from toy_house.ground.brick import TWICE\nfrom .stone import VALUE\n")
    with pytest.raises(ImportError, match=r"both flatten to stone\.py"):
        collect_flat_sources("toy_house.upper.wall")


def test_long_imports_stay_within_the_line_limit(package):
    """A rewritten import of many names must keep every name and stay readable."""
    names = [f"A_LONG_NAME_NUMBER_{index}" for index in range(12)]
    source = "from toy_house.ground.stone import (\n" + "".join(f"    {name},\n" for name in names) + ")\nX = 1\n"
    flat, targets = flatten_source(source, "toy_house.upper.roof", "toy_house")
    node = ast.parse(flat).body[0]
    assert targets == ("toy_house.ground.stone",)
    assert (node.level, node.module, [alias.name for alias in node.names]) == (1, "stone", names)
    assert max(map(len, flat.splitlines())) <= 119
    assert flat.endswith(")\nX = 1\n")


def test_the_auto_map_names_the_entry_file(package, tmp_path):
    """The loader reads the class from the file that `auto_map` names; other fields of the JSON must stay."""
    (tmp_path / "config.json").write_text('{"kept": "ü", "auto_map": {"AutoModel": "owner/repo--old.Old"}}')
    write_code(tmp_path, "toy_house.upper.roof", "config.json", {"AutoModel": "Roof", "AutoConfig": "Plan"})
    written = json.loads((tmp_path / "config.json").read_text())
    assert written == {"kept": "ü", "auto_map": {"AutoModel": "roof.Roof", "AutoConfig": "roof.Plan"}}
    with pytest.raises(FileNotFoundError, match="saved configuration"):
        write_code(tmp_path, "toy_house.upper.roof", "processor_config.json", {"AutoProcessor": "Roof"})


@pytest.mark.parametrize(
    "entry",
    ["desa2va.modeling_desa2va.modeling_desa2va", "desa2va.processing.processing_desa2va"],
)
def test_our_own_code_flattens(entry):
    """Guards the export rules of the rooms: defining modules only, unique names, nothing of training or eval."""
    sources = collect_flat_sources(entry)
    siblings = {name.removesuffix(".py") for name in sources}
    for name, text in sources.items():
        assert set(LOADER.findall(text)) <= siblings, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, name
                assert (node.module or "").split(".")[0] != "desa2va", name
    origins = {text.split("\n", 1)[0] for text in sources.values()}
    assert not [line for line in origins if ".training." in line or ".eval." in line or ".conversion." in line]
