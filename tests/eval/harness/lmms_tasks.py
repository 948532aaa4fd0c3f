"""Three tasks for lmms-eval in its own layouts, made of RefShapes: words, SA-Co's masks, and tracks of points.

The last two are scored by lmms-eval's own code of `saco_*` and `rvos_*`; of theirs only the data is exchanged.
"""

import io
import json

import datasets
import numpy as np
from PIL import Image

from desa2va.processing.files import VideoWriter, encode_mask
from desa2va.training.data.refshapes import RefShapes

TASKS = ("chat_fixture", "saco_fixture", "rvos_fixture")
COUNT = 4
_COMMON = """task: {task}
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {table}}}}}
test_split: test
output_type: generate_until
generation_kwargs: {{max_new_tokens: 64, temperature: 0, do_sample: false}}
metadata: [{{version: 0}}]
"""
_CHAT = """doc_to_visual: !function functions.visual
doc_to_text: question
doc_to_target: answer
doc_to_messages: !function functions.messages
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
_SACO = """doc_to_visual: !function functions.saco_doc_to_visual
doc_to_text: !function functions.saco_doc_to_text
doc_to_target: !function functions.saco_doc_to_target
process_results: !function functions.saco_process_results
metric_list:
- {metric: sample_f1, aggregation: !function functions.sample_f1, higher_is_better: true}
- {metric: count_accuracy, aggregation: !function functions.count_accuracy, higher_is_better: true}
"""
_RVOS = """doc_to_visual: !function functions.rvos_doc_to_visual
doc_to_text: !function functions.rvos_doc_to_text
doc_to_messages: !function functions.rvos_doc_to_messages
doc_to_target: expression
process_results: !function functions.rvos_process_results
metric_list:
- {metric: rvos_precision, aggregation: !function functions.rvos_aggregate_precision, higher_is_better: true}
- {metric: rvos_f1, aggregation: !function functions.rvos_aggregate_f1, higher_is_better: true}
- {metric: rvos_hota, aggregation: !function functions.rvos_aggregate_hota, higher_is_better: true}
"""
_FUNCTIONS = """from lmms_eval.tasks.rvos.utils import *
from lmms_eval.tasks.saco.utils import *


def visual(doc):
    return [doc["image"].convert("RGB")]


def messages(doc, lmms_eval_specific_kwargs=None):
    content = [{"type": "image", "url": visual(doc)[0]}, {"type": "text", "text": doc["question"]}]
    return [{"role": "user", "content": content}]
"""


def write_tasks(folder, home):
    """Writes the tasks and their tables into `folder`, videos and masks where the harness looks for them.

    Args:
        home: `HF_HOME` of the harness.
    """
    folder.mkdir()
    (folder / "functions.py").write_text(_FUNCTIONS)
    tables = {"chat_fixture": chat_rows(), "saco_fixture": saco_rows(), "rvos_fixture": rvos_rows(home)}
    for task, own in zip(TASKS, (_CHAT, _SACO, _RVOS), strict=True):
        table = folder / f"{task}.parquet"
        data = datasets.Dataset.from_list(tables[task])
        if "image" in data.column_names:
            data = data.cast_column("image", datasets.Image())
        data.to_parquet(table)
        (folder / f"{task}.yaml").write_text(_COMMON.format(task=task, table=table) + own)


def scenes(kind, **options):
    """The first scenes of a split that no training sees."""
    return RefShapes("test", length=COUNT, conversations=1, kinds={kind: 1.0}, **options)


def chat_rows():
    """Questions for a colour."""
    return [
        {"image": picture(sample), "question": sample.conversations[0].turns[0][0], "answer": said_color(sample)}
        for sample in scenes("qa_color")
    ]


def said_color(sample):
    """The true answer."""
    return sample.conversations[0].turns[0][1]


def saco_rows():
    """One object each, seen by three annotators alike."""
    data, rows = scenes("attribute"), []
    for number in range(COUNT):
        sample, (expression,) = data.with_expressions(number)
        masks = [encode_mask(sample.conversations[0].masks[0, 0])]
        humans = {f"human_{place}_masks": masks for place in (1, 2, 3)}
        rows.append({"image": picture(sample), "expression": expression.text, "count": 1, **humans})
    return rows


def rvos_rows(home):
    """Clips of one object, in the folders of MeViS."""
    root = home / "rvos_mevis_valid_u"
    data, rows = scenes("attribute", video_fraction=1.0), []
    (root / "videos").mkdir(parents=True)
    for number in range(COUNT):
        sample, (expression,) = data.with_expressions(number)
        name, masks = f"clip{number}", sample.conversations[0].masks[0]
        with VideoWriter(root / "videos" / f"{name}.mp4", 6, overwrite=True) as writer:
            for frame in sample.frames:
                writer.write(frame)
        (root / "masks" / name).mkdir(parents=True)
        codes = [encode_mask(mask) if mask.any() else None for mask in masks]
        (root / "masks" / name / "0.json").write_text(json.dumps({"0": codes}))
        height, width = masks.shape[1:]
        tracks = [
            {"frame": frame, "points": [{"id": 0, "point": centre(mask)}]}
            for frame, mask in enumerate(masks)
            if mask.any()
        ]
        told = {
            "video": name,
            "expression": expression.text,
            "mask_ids": ["0"],
            "frame_trajectories": json.dumps(tracks),
        }
        size = {"width": width, "height": height, "fps": 6, "n_frames": len(masks)}
        rows.append({"id": f"mevis_track_{number}", "qid": str(number), **told, **size})
    return rows


def centre(mask):
    """`[x, y]` of a mask."""
    ys, xs = np.nonzero(mask)
    return [float(xs.mean()), float(ys.mean())]


def picture(sample):
    """The first frame as a cell of a table."""
    stream = io.BytesIO()
    Image.fromarray(sample.frames[0]).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}
