"""Maps the rooms at the repository root to one import name, `desa2va`."""

from setuptools import find_packages, setup

OWN = ("desa2va", "desa2va.bulk", "desa2va.commands", "desa2va.serving", "desa2va.web")
ROOMS = ("configuration", "processing", "modeling_desa2va", "training", "eval", "annotation")
packages = [name for name in find_packages(".") if name.split(".")[0] in ROOMS]

setup(
    packages=[*OWN, *(f"desa2va.{name}" for name in packages)],
    package_dir={"desa2va": "desa2va", **{f"desa2va.{room}": room for room in ROOMS}},
    package_data={
        "desa2va": ["py.typed", "assets/**/*", "templates/*"],
        "desa2va.training": ["configs/**/*.yaml"],
        "desa2va.annotation": ["prompts/*.txt", "*.jinja"],
        "desa2va.eval": ["ablations/plans/*.yaml", "published.json", "reports/*.jinja"],
    },
)
