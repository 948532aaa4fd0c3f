"""Grounded conversation in its own layout, by hand; how alike phrases are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

import desa2va.eval.metrics.captions as captions_module
from desa2va.eval.benchmarks.grounded_pictures import GroundedScores, benchmark, caption_of, phrases_of
from desa2va.eval.benchmarks.phrase_similarity import PhraseSimilarity
from desa2va.eval.benchmarks.runner import Run, answer_all, score_run
from desa2va.processing.files import encode_mask
from desa2va.processing.processing_desa2va import GCG_INSTRUCTION
from tests.eval.benchmarks.layouts import MODEL, Oracle, answer_of, box
from tests.training.data.readers.picture_layouts import SIZE, box_mask, picture, write


def write_gcg(root, split="val"):
    """Two pictures: a man and a hat on one, a dog on the other; the files hold no `info`."""
    place = root / "glamm_data" / "annotations" / "gcg_val_test"
    masks = [
        {"id": number, "image_id": image, "category_id": 1, "segmentation": encode_mask(box(number)[0]), "iscrowd": 0}
        for number, image in ((1, "7"), (3, "7"), (2, "8"))
    ]
    images = [{"id": image, "height": SIZE[0], "width": SIZE[1]} for image in ("7", "8")]
    write(
        place / f"{split}_gcg_coco_mask_gt.json", {"images": images, "annotations": masks, "categories": [{"id": 1}]}
    )
    captions = [
        {"id": 1, "image_id": "7", "caption": "A man with a hat", "labels": ["a man", "a hat"]},
        {"id": 2, "image_id": "8", "caption": "A dog", "labels": ["a dog"]},
    ]
    content = {"images": [{"id": "7"}, {"id": "8"}], "annotations": captions}
    write(place / f"{split}_gcg_coco_caption_gt.json", content)
    for image in ("7", "8"):
        picture(root / "glamm_data" / "images" / "grandf" / "val_test" / f"{image}.jpg")
    return root


def alike(one, other):
    """The same but for capitals."""
    return float(one.lower() == other.lower())


def said(text, *masks):
    """An answer in words with these masks."""
    return replace(answer_of(*masks), text=text)


def scored(root, out, answers, split="val", captions=False, **options):
    chosen = replace(benchmark(f"gcg-{split}"), scores=lambda root: GroundedScores(alike, captions))
    run = Run(chosen, root, out, **options)
    plan = run.plan()
    return score_run(run, plan, answer_all(run, plan, Oracle(answers), MODEL))


def test_gcg(tmp_path):
    """Picture 7: half of the man under his name, the hat under another; picture 8: the dog.

    mIoU ((0.5 + 1) / 2 + 1) / 2; the search begins with the hat, whose phrase fails, so one of three is found, though
    the man's phrase is right. All three masks reach an IoU of 0.5: AP50 is 1.
    """
    root = write_gcg(tmp_path / "data")
    first = said("<p> A man </p> [SEG] with <p> a shoe </p> [SEG].", box_mask(4, 4, 24, 14)[None], box(3))
    answers = {"7": first, "8": said("<p> a dog </p> [SEG]", box(2))}
    report = scored(root, tmp_path / "out", answers)
    figures = report["figures"]
    assert figures["miou"] == pytest.approx(0.875)
    assert figures["recall"] == pytest.approx(1 / 3)
    assert figures["ap50"] == pytest.approx(1)
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
        scored(root, tmp_path / "out", answers, prompt="{}!")


def test_gcg_with_its_traps(tmp_path):
    """Picture 7: 180 of the man's 400 pixels, then the hat, two masks with one phrase; picture 8: nothing.

    mIoU: pairs of 0.45 and 1, no pair is 0: (0.725 + 0) / 2. Recall: the hat's mask is the second, which has no
    phrase; that picture's two phrases count as not found: 0 of 3, though "a man" were right about nothing. AP50: of
    three truths one is found, behind a wrong mask: precision 1/2 up to a recall of 1/3, of 101 recalls 0 to .33.
    """
    root = write_gcg(tmp_path / "data", "test")
    first = said("<p> a man </p> [SEG] [SEG]", box_mask(4, 4, 24, 13)[None], box(3))
    figures = scored(root, tmp_path / "out", {"7": first}, "test")["figures"]
    assert figures["miou"] == pytest.approx(0.725 / 2)
    assert (figures["recall"], figures["n_without_phrase"]) == (0, 1)
    assert figures["ap50"] == pytest.approx(34 / 101 / 2)


def test_gcg_captions(tmp_path, monkeypatch):
    """Without tags and [SEG], against the caption of the file, picture by picture; a silent answer is an empty one."""
    seen = {}
    monkeypatch.setattr(captions_module, "_score", lambda found, real: seen.update(found=found, real=real) or {})
    answers = {"7": said("<p> A man </p> [SEG]  with <p> a hat </p> [SEG].", box(1), box(3))}
    scored(write_gcg(tmp_path / "data"), tmp_path / "out", answers, captions=True)
    assert seen == {"found": [["A man with a hat ."], ["There is none."]], "real": [["A man with a hat"], ["A dog"]]}


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
