"""The four layouts of `disk.py`: `RefShapes` splits enter, files with exact masks leave."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from desa2va.training.data.mask_codes import decode_mask, encode_mask, mask_to_polygons
from desa2va.training.data.sample import Sample

from .dataset import RefShapes
from .language import Expression
from .scene import SHAPES

BLIND_SPLITS = ("valid", "test")
JPEG_QUALITY = 95


def _samples(data: RefShapes, bar: tqdm) -> Iterator[tuple[int, Sample, tuple[Expression, ...]]]:
    """Index, sample and expressions, one after the other."""
    for index in range(len(data)):
        yield index, *data.with_expressions(index)
        bar.update()


def write_finetune(folder: Path, sets: dict[str, RefShapes], bar: tqdm) -> None:
    """One `<split>.json` per split; pictures and frames as PNG below `images/`."""
    for split, data in sets.items():
        entries = []
        for index, sample, expressions in _samples(data, bar):
            names = [f"{split}/{index:06d}/{t:05d}.png" for t in range(len(sample.frames))]
            if not sample.is_video:
                names = [f"{split}/{index:06d}.png"]
            for name, frame in zip(names, sample.frames, strict=True):
                _save(frame, folder / "images" / name)
            entry: dict[str, Any] = {"video": names} if sample.is_video else {"image": names[0]}
            entry["mask"] = [_finetune_mask(sample, expression) for expression in expressions]
            entry["text"] = [expression.text for expression in expressions]
            entries.append(entry)
        _dump(entries, folder / f"{split}.json")


def _finetune_mask(sample: Sample, expression: Expression) -> list[Any] | None:
    """Polygons of a picture, codes of a video, of all targets together; null without target."""
    if not expression.targets:
        return None
    mask = _union(sample, expression.targets)
    return _frame_codes(mask) if sample.is_video else mask_to_polygons(mask[0])


def write_refcoco(folder: Path, sets: dict[str, RefShapes], bar: tqdm) -> None:
    """All splits in one `instances.json` and one `refs(unc).p`; one reference per object that is asked for."""
    images, annotations, refs = [], [], []
    sentence_id = 0
    for split, data in sets.items():
        for _, sample, expressions in _samples(data, bar):
            image = _coco_image(len(images) + 1, sample)
            _save(sample.frames[0], folder / "coco2014" / "train2014" / image["file_name"])
            images.append(image)
            first = len(annotations) + 1
            annotations += _coco_annotations(first, image["id"], sample)
            for target in sorted({expression.targets[0] for expression in expressions}):
                texts = dict.fromkeys(e.text for e in expressions if e.targets[0] == target)
                sentences = [
                    {"sent_id": sentence_id + k, "raw": text, "sent": text, "tokens": text.split()}
                    for k, text in enumerate(texts)
                ]
                sentence_id += len(sentences)
                refs.append(_reference(len(refs), split, image, annotations[first - 1 + target], sentences))
    categories = [{"id": k, "name": shape, "supercategory": "shape"} for k, shape in enumerate(SHAPES, 1)]
    _dump(
        {"info": {}, "images": images, "annotations": annotations, "categories": categories}, folder / "instances.json"
    )
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))


def _reference(
    ref_id: int, split: str, image: dict[str, Any], annotation: dict[str, Any], sentences: list[dict[str, Any]]
) -> dict[str, Any]:
    """One entry of `refs(unc).p`; like the public ones its file name carries the annotation as a suffix."""
    return {
        "ref_id": ref_id,
        "ann_id": annotation["id"],
        "image_id": image["id"],
        "category_id": annotation["category_id"],
        "split": split,
        "sentences": sentences,
        "sent_ids": [sentence["sent_id"] for sentence in sentences],
        "file_name": image["file_name"].replace(".jpg", f"_{annotation['id']}.jpg"),
    }


def _coco_image(image_id: int, sample: Sample) -> dict[str, Any]:
    height, width = sample.frames.shape[1:3]
    return {"id": image_id, "file_name": f"COCO_train2014_{image_id:012d}.jpg", "height": height, "width": width}


def _coco_annotations(first: int, image_id: int, sample: Sample) -> list[dict[str, Any]]:
    """One COCO annotation with polygons per object of the scene."""
    annotations = []
    for index, item in enumerate(sample.scene["objects"]):
        mask = sample.scene["instance_map"][0] == index + 1
        annotations.append(
            {
                "id": first + index,
                "image_id": image_id,
                "category_id": SHAPES.index(item["shape"]) + 1,
                "segmentation": mask_to_polygons(mask),
                "area": int(mask.sum()),
                "bbox": _bounding_box(mask),
                "iscrowd": 0,
            }
        )
    return annotations


def write_mevis(folder: Path, sets: dict[str, RefShapes], bar: tqdm) -> None:
    """One folder per split; those of `BLIND_SPLITS` without answers, as in the public set."""
    for split, data in sets.items():
        videos: dict[str, Any] = {}
        codes: dict[str, Any] = {}
        for index, sample, expressions in _samples(data, bar):
            video = f"{split}{index:06d}"
            names = [f"{t:05d}" for t in range(len(sample.frames))]
            for name, frame in zip(names, sample.frames, strict=True):
                _save(frame, folder / split / "JPEGImages" / video / f"{name}.jpg")
            first = len(codes)
            for target in range(len(sample.scene["objects"])):
                codes[str(first + target)] = _frame_codes(_union(sample, (target,)))
            asked: dict[str, dict[str, Any]] = {str(k): {"exp": e.text} for k, e in enumerate(expressions)}
            if split not in BLIND_SPLITS:
                for entry, e in zip(asked.values(), expressions, strict=True):
                    entry.update(obj_id=list(e.targets), anno_id=[first + target for target in e.targets])
            videos[video] = {"vid_id": index, "frames": names, "expressions": asked}
        name = "meta_expressions_release.json" if split == "test" else "meta_expressions.json"
        _dump({"videos": videos}, folder / split / name)
        if split not in BLIND_SPLITS:
            _dump(codes, folder / split / "mask_dict.json")


def write_gcg(folder: Path, sets: dict[str, RefShapes], bar: tqdm) -> None:
    """Training records with offsets into the caption; COCO mask and caption files for any other split."""
    annotations = folder / "annotations"
    for split, data in sets.items():
        place = folder / "images" / "grandf" / ("train" if split == "train" else "val_test")
        records = []
        for index, sample, _ in _samples(data, bar):
            stem = f"{split}_{index:06d}"
            _save(sample.frames[0], place / f"{stem}.jpg")
            records.append(_grounded_record(stem, sample))
        if split == "train":
            _dump(records, annotations / "GranDf_HA_GCG_train.json")
        else:
            masks, captions = _grounded_truth(records)
            _dump(masks, annotations / "gcg_val_test" / f"{split}_gcg_coco_mask_gt.json")
            _dump(captions, annotations / "gcg_val_test" / f"{split}_gcg_coco_caption_gt.json")


def _grounded_record(stem: str, sample: Sample) -> dict[str, Any]:
    """A GranD-f record. Objects that look alike share one phrase, which then has several masks."""
    (conversation,) = sample.conversations
    members: dict[str, list[int]] = {}
    for label, target in zip(conversation.labels, conversation.targets, strict=True):
        members.setdefault(f"a {label}", []).append(target)
    caption = ", ".join(members) + "."
    groundings = {}
    for phrase, targets in members.items():
        start = caption.index(phrase)
        codes = [encode_mask(_union(sample, (target,))[0]) for target in targets]
        groundings[phrase] = {"token_positives": [start, start + len(phrase)], "rle_masks": codes}
    height, width = sample.frames.shape[1:3]
    return {
        "file_name": f"{stem}.jpg",
        "height": height,
        "width": width,
        "image_id": stem,
        "caption": caption,
        "groundings": groundings,
    }


def _grounded_truth(records: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The COCO files of masks and of captions that GCG is scored with."""
    images, masks, captions = [], [], []
    for record in records:
        image_id = record["image_id"]
        images.append({key: record[key] for key in ("file_name", "height", "width")} | {"id": image_id})
        labels = list(record["groundings"])
        captions.append(
            {"id": len(captions) + 1, "image_id": image_id, "caption": record["caption"], "labels": labels}
        )
        for grounding in record["groundings"].values():
            mask = np.any([decode_mask(code) for code in grounding["rle_masks"]], axis=0)
            masks.append(
                {
                    "id": len(masks) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "segmentation": encode_mask(mask),
                    "area": int(mask.sum()),
                    "bbox": _bounding_box(mask),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 1, "name": "object"}]
    truth = {"info": {}, "images": images, "annotations": masks, "categories": categories}
    return truth, {"info": {}, "images": [{"id": image["id"]} for image in images], "annotations": captions}


def _union(sample: Sample, targets: tuple[int, ...]) -> np.ndarray:
    """The pixels of any of the objects: bool `(T, H, W)`."""
    return np.isin(sample.scene["instance_map"], [target + 1 for target in targets])


def _frame_codes(mask: np.ndarray) -> list[dict[str, Any] | None]:
    """A run-length code per frame, null where nothing is seen."""
    return [encode_mask(frame) if frame.any() else None for frame in mask]


def _bounding_box(mask: np.ndarray) -> list[float]:
    """COCO box `[x, y, width, height]` in pixels; zeros for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return [0.0] * 4
    return [float(v) for v in (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)]


def _save(frame: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame).save(path, **({"quality": JPEG_QUALITY} if path.suffix == ".jpg" else {}))


def _dump(content: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


__all__ = ["write_finetune", "write_gcg", "write_mevis", "write_refcoco"]
