"""The floors of the house: imports point down, never sideways between wings, and into a wing through its door."""

import ast
from pathlib import Path

import pytest

import desa2va

ROOT = Path(desa2va.__file__).resolve().parent.parent
ROOMS = ("configuration", "processing", "modeling_desa2va", "training", "eval", "annotation")

# From the ground up. A module belongs to the longest name that begins its own; names of one floor are strangers.
FLOORS = [
    ["errors", "openai_client"],
    ["argument_types", "flat_export", "program"],
    ["configuration"],
    ["processing.inputs", "processing.files"],
    ["processing.batch", "processing.results"],
    ["processing"],
    ["modeling_desa2va"],
    ["modeling_desa2va.language", "modeling_desa2va.tracking"],
    ["modeling_desa2va.answering"],
    ["modeling_desa2va.modeling_desa2va"],
    ["modeling_desa2va.session", "modeling_desa2va.conversation", "modeling_desa2va.conversion"],
    ["auto", "card", "model_checks", "model_files"],
    ["published", "adapters"],
    ["hub"],
    [
        *("training.data.sample", "training.data.mask_codes", "training.data.mask_parts", "training.data.wording"),
        "training.data.question_sets",
    ],
    ["training.data.records"],
    ["training.data.record_media", "training.data.record_rows"],
    ["training.data.refshapes", "training.data.readers", "training.disentangling"],
    ["training"],
    ["eval"],
    ["annotation"],
    [""],
]
HEIGHT = {name: height for height, floor in enumerate(FLOORS) for name in floor}


def door_names(name):
    """What the first file of a wing lists in `__all__`."""
    tree = ast.parse((ROOT / name.replace(".", "/") / "__init__.py").read_text(encoding="utf-8"))
    return set(ast.literal_eval(next(node.value for node in tree.body if isinstance(node, ast.Assign))))


DOORS = {
    name: door_names(name)
    for name in HEIGHT
    if name and name not in ROOMS and (ROOT / name.replace(".", "/") / "__init__.py").is_file()
}


def unit_of(module):
    """The floor's name a module belongs to."""
    return max((name for name in HEIGHT if not name or f"{module}.".startswith(f"{name}.")), key=len)


def module_name(path):
    """Dotted name below `desa2va`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "desa2va" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    """`(line, module below desa2va)` of every import from the package, those inside functions included."""
    module = module_name(path)
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("desa2va."):
                    yield node.lineno, alias.name.removeprefix("desa2va.")
        elif isinstance(node, ast.ImportFrom):
            target = (node.module or "").split(".") if node.module else []
            if node.level:
                target = package[: len(package) - node.level + 1] + target
            elif target[:1] == ["desa2va"]:
                target = target[1:]
            else:
                continue
            offered = DOORS.get(".".join(target), set())
            for alias in node.names:
                deeper = ROOT.joinpath(*target, alias.name)
                is_module = deeper.with_suffix(".py").is_file() or deeper.is_dir()
                yield (
                    node.lineno,
                    ".".join([*target, alias.name] if is_module and alias.name not in offered else target),
                )


SOURCES = sorted(path for room in (*ROOMS, "desa2va") for path in (ROOT / room).rglob("*.py"))


def complaint(path, line, target):
    """What is wrong with an import, or `None`."""
    unit, other = unit_of(module_name(path)), unit_of(target)
    if unit == other or not target:  # the package itself offers its version
        return None
    where = f"{path.relative_to(ROOT)}:{line} imports {target}"
    if HEIGHT[other] >= HEIGHT[unit]:
        return f"{where}: {other or 'the top floor'} does not lie below {unit or 'the top floor'}"
    if other in DOORS and target != other:
        return f"{where}: come in through the door, `from desa2va.{other} import ...`"
    return None


@pytest.mark.parametrize("room", [*ROOMS, "desa2va"])
def test_imports_point_down_and_through_doors(room):
    """An arrow upwards or sideways is how two ideas grow into one."""
    files = [path for path in SOURCES if path.relative_to(ROOT).parts[0] == room]
    assert files
    assert not [found for path in files for edge in imports_of(path) if (found := complaint(path, *edge))]


@pytest.mark.parametrize(
    ("path", "target", "word"),
    [
        ("modeling_desa2va/fusion.py", "modeling_desa2va.tracking", "does not lie below"),
        ("modeling_desa2va/tracking/tracks.py", "modeling_desa2va.language", "does not lie below"),
        ("processing/inputs/prefetch.py", "processing.files", "does not lie below"),
        ("modeling_desa2va/session/core.py", "modeling_desa2va.tracking.memory", "through the door"),
        ("training/trainer.py", "eval.refshapes", "does not lie below"),
        ("training/train.py", "training.data.refshapes.scene", "through the door"),
    ],
)
def test_a_wrong_arrow_is_seen(path, target, word):
    """A check that lets everything pass would look the same as a clean house."""
    assert word in complaint(ROOT / path, 1, target)


@pytest.mark.parametrize("door", sorted(DOORS))
def test_doors_offer_what_they_name(door):
    """`__all__` is what others may use."""
    tree = ast.parse((ROOT / door.replace(".", "/") / "__init__.py").read_text(encoding="utf-8"))
    names = [
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    listed = next(node.value for node in tree.body if isinstance(node, ast.Assign))
    assert sorted(names) == sorted(ast.literal_eval(listed))
    assert ast.get_docstring(tree)
