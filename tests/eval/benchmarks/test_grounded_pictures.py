"""Grounded conversation in its own layout, by hand; how alike phrases are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from desa2va.eval.benchmarks.grounded_pictures import GroundedScores, benchmark, caption_of, phrases_of
from desa2va.eval.benchmarks.phrase_similarity import PhraseSimilarity
from desa2va.eval.benchmarks.runner import Run, answer_all, score_run
from desa2va.processing.processing_desa2va import GCG_INSTRUCTION
from tests.eval.benchmarks.layouts import BOXES, MODEL, Oracle, answer_of, box, square
from tests.training.data.readers.picture_layouts import box_mask, picture, write


def write_gcg(root):
    """Two pictures: a man and a hat on one, a dog on the other."""
    place = root / "glamm_data" / "annotations" / "gcg_val_test"
    masks = [
        {"id": number, "image_id": image, "category_id": 1, "segmentation": [square(*BOXES[number])], "iscrowd": 0}
        for number, image in ((1, "7"), (3, "7"), (2, "8"))
    ]
    write(place / "val_gcg_coco_mask_gt.json", {"images": [], "annotations": masks, "categories": []})
    captions = [
        {"id": 1, "image_id": "7", "caption": "A man with a hat", "labels": ["a man", "a hat"]},
        {"id": 2, "image_id": "8", "caption": "A dog", "labels": ["a dog"]},
    ]
    write(place / "val_gcg_coco_caption_gt.json", {"images": [{"id": "7"}, {"id": "8"}], "annotations": captions})
    for image in ("7", "8"):
        picture(root / "glamm_data" / "images" / "grandf" / "val_test" / f"{image}.jpg")
    return root


def test_gcg(tmp_path):
    """Picture 7: half of the man under his name, the hat under another; picture 8: the dog.

    mIoU ((0.5 + 1) / 2 + 1) / 2; the search begins with the hat, whose phrase fails, so one of three is found.
    """
    root = write_gcg(tmp_path / "data")
    text = "<p> A man </p> [SEG] with <p> a shoe </p> [SEG]."
    first = replace(answer_of(box_mask(4, 4, 24, 14)[None], box(3)), text=text)
    second = replace(answer_of(box(2)), text="<p> a dog </p> [SEG]")

    def alike(one, other):
        return float(one.lower() == other.lower())

    chosen = replace(benchmark("gcg-val"), scores=lambda root: GroundedScores(alike, captions=False))
    run = Run(chosen, root, tmp_path / "out")
    plan = run.plan()
    report = score_run(run, plan, answer_all(run, plan, Oracle({"7": first, "8": second}), MODEL))
    figures = report["figures"]
    assert figures["miou"] == pytest.approx(0.875)
    assert figures["recall"] == pytest.approx(1 / 3)
    assert figures["captions"].startswith("not computed")
    assert report["prompt"] == GCG_INSTRUCTION
    assert report["samples"][0] == {
        "id": "7",
        "expression": GCG_INSTRUCTION,
        "status": "ok",
        "miou": 0.75,
        "matched": 0,
        "phrases": 2,
        "caption": "A man with a shoe .",
    }
    with pytest.raises(ValueError, match="gcg-val asks in its own words"):
        Run(chosen, root, tmp_path / "out", prompt="{}!").plan()


def test_captions_and_phrases():
    text = "<p>A man</p> [SEG]  in <p> a\nred hat </p> [SEG]"
    assert phrases_of(text) == ["A man", "a red hat"]
    assert caption_of(text) == "A man in a red hat"


def test_similarity_is_the_cosine_of_mean_states(tmp_path):
    """Guards against the state of the first token, which GLaMM does not take."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "hat"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = BertModel(BertConfig(vocab_size=len(words), **sizes)).eval()
    model.save_pretrained(tmp_path)
    similarity = PhraseSimilarity(str(tmp_path))
    with torch.no_grad():
        one, other = (
            model(torch.tensor([[2, *ids, 3]])).last_hidden_state[0].mean(0).numpy() for ids in ([5, 6], [7])
        )
    expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert similarity("a man", "hat") == pytest.approx(float(expected), abs=1e-6)
    assert similarity("a man", "a man") == pytest.approx(1)
    with pytest.raises(FileNotFoundError, match="recall compares phrases with the text encoder"):
        PhraseSimilarity(str(tmp_path / "no"))
