"""The four commands of docs/training.md, from own photos to a model for others, for every kind of own data."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as masks

import desa2va
from desa2va.cli import main
from desa2va.training.data.sources import open_source

ROOT = Path(desa2va.__file__).resolve().parent.parent
PHOTOS = ROOT.parent / "shared" / "real_data" / "coco_photos"
COUNTS = "11 pictures, 0 videos, 11 frames, 35 expressions, 10 without target, 0 chat turns; no problems"

pytestmark = pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the COCO photos")


def records():
    """Picture, and of each of its expressions text and one code or none."""
    for record in open_source(str(PHOTOS)).records():
        found = [(said.ids["text"], said.targets[0].codes[0] if said.targets else None) for said in record.dialogues]
        yield Path(record.paths[0]).name, found


def write_folder(place):
    """One number for every annotation that an expression names; `1;2` are two."""
    (place / "masks").mkdir()
    coco, items = (json.loads((PHOTOS / name).read_text()) for name in ("instances.json", "expressions.json"))
    annotations = {entry["id"]: entry["segmentation"] for entry in coco["annotations"]}
    pictures = {entry["id"]: entry for entry in coco["images"]}
    with (place / "expressions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("image", "object", "expression"))
        for item in items["items"]:
            picture = pictures[item["image_id"]]
            labels = np.zeros((picture["height"], picture["width"]), np.uint8)
            named = sorted({number for said in item["expressions"] for number in said["ann_ids"]})
            for number, name in enumerate(named, 1):
                code = masks.frPyObjects(annotations[name], *labels.shape)
                labels[masks.decode(masks.merge(code) if isinstance(code, list) else code) == 1] = number
            Image.fromarray(labels).save(place / "masks" / f"{Path(picture['file_name']).stem}.png")
            for said in item["expressions"]:
                objects = ";".join(str(named.index(name) + 1) for name in said["ann_ids"])
                table.writerow((picture["file_name"], objects, said["text"]))
    return place


def write_coco(place):
    for name in ("instances.json", "expressions.json"):
        shutil.copy(PHOTOS / name, place)
    return place


def write_lines(place):
    lines = [
        {"image": name, "text": [text for text, _ in found], "mask": [code and [code] for _, code in found]}
        for name, found in records()
    ]
    (place / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return place / "train.jsonl"


@pytest.mark.parametrize("write", [write_folder, write_coco, write_lines])
def test_four_commands(write, tmp_path, monkeypatch, capsys):
    """A kind of data that one of them reads and another does not, or a command that the page writes otherwise."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PHOTOS / "images", tmp_path / "photos" / "images")
    given = write(tmp_path / "photos").relative_to(tmp_path)
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    block = re.search(r"From your own pictures.*?```bash\n(.*?)```", page, re.DOTALL).group(1)
    check, train, segment, export = (shlex.split(line)[1:] for line in block.splitlines())
    assert main([*check[:-1], str(given)]) == 0
    assert COUNTS in capsys.readouterr().out
    few = ["training.max_steps=2", "training.per_device_train_batch_size=1", "training.use_cpu=true"]
    assert main([word.replace("=photos", f"={given}") for word in train] + few) == 0
    segment[1] = "photos/images/000000009483.jpg"
    assert main([*segment, "--device", "cpu"]) == 0
    assert main(export) == 0
    segment[segment.index("--model") + 1], segment[segment.index("--out") + 1] = export[1], "again"
    assert main([*segment, "--device", "cpu"]) == 0
    assert Path("bus/answers.json").read_bytes() == Path("again/answers.json").read_bytes()
    trained, shared = (json.loads(Path(place, "result.json").read_text()) for place in ("bus", "again"))
    assert trained["objects"] == shared["objects"]
