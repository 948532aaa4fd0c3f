"""COCO masks and referring expressions to our fine-tune JSON.

Reads a folder with `instances.json` (COCO), `images/` and `expressions.json`: `{"items": [{"image_id", "caption",
"expressions": [{"text", "ann_ids"}]}]}`; several `ann_ids` mean their union, none that nothing in the picture fits.
Writes `train.json` and copies of the pictures:

    python examples/convert_coco_expressions.py coco_photos --out photos
    desa2va data check photos/train.json
    desa2va train finetune data.dataset=photos/train.json output_dir=runs/photos
"""

import argparse
import json
import shutil
from pathlib import Path

from desa2va.processing.files import output_folder


def convert(folder: Path, captions: bool) -> tuple[list[dict], list[str]]:
    """Fine-tune records, and the names of the pictures they show.

    Raises:
        ValueError: an expression names a picture or annotation that `instances.json` lacks, or one of another picture.
    """
    coco = json.loads((folder / "instances.json").read_text(encoding="utf-8"))
    pictures = {picture["id"]: picture["file_name"] for picture in coco["images"]}
    annotations = {annotation["id"]: annotation for annotation in coco["annotations"]}
    records = []
    for item in json.loads((folder / "expressions.json").read_text(encoding="utf-8"))["items"]:
        if item["image_id"] not in pictures:
            raise ValueError(f"image_id {item['image_id']} is not in instances.json")
        record = {"image": pictures[item["image_id"]], "text": [], "mask": []}
        for expression in item["expressions"]:
            parts = []
            for number in expression["ann_ids"]:
                annotation = annotations.get(number)
                if annotation is None or annotation["image_id"] != item["image_id"]:
                    raise ValueError(f"{expression['text']!r}: picture {item['image_id']} has no annotation {number}")
                shape = annotation["segmentation"]
                parts += shape if isinstance(shape, list) else [shape]
            record["text"].append(expression["text"])
            record["mask"].append(parts or None)  # the parts of all objects: their union; none: no target
        if captions and item.get("caption"):
            record["caption"] = item["caption"]
        records.append(record)
    return records, [record["image"] for record in records]


def main() -> None:
    """Converts a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds instances.json, expressions.json and images/")
    parser.add_argument("--out", type=Path, required=True, help="target; must be absent or empty")
    parser.add_argument("--captions", action="store_true", help="also learn the captions as answers to a chat")
    options = parser.parse_args()
    with output_folder(options.out, sources=[options.folder]) as out:
        records, pictures = convert(options.folder, options.captions)
        (out / "images").mkdir()
        for name in sorted(set(pictures)):
            shutil.copyfile(options.folder / "images" / name, out / "images" / name)
        (out / "train.json").write_text(json.dumps(records), encoding="utf-8")
    expressions = [mask for record in records for mask in record["mask"]]
    print(
        f"{options.out / 'train.json'}: {len(records)} records, {len(expressions)} expressions, "
        f"{expressions.count(None)} of them without target"
    )


if __name__ == "__main__":
    main()
