"""The benchmark from end to end: fakes whose score is known, the untrained tiny model, the command line."""

import hashlib
import json

import numpy as np
import pytest
import torch

from desa2va.eval import answering
from desa2va.eval.evaluate_desa2va import main
from desa2va.eval.refshapes import evaluate_refshapes, run, summarise
from desa2va.eval.refshapes_arguments import add_refshapes_arguments

KINDS = ("attribute", "relation", "superlative", "negation", "multiple", "no_target")


def test_truth_scores_one_everywhere(make_fake, processor, replies):
    """Any loss on the way from logits to a figure (matching, order, resolution, frames, parsing) shows here."""
    fake = make_fake(replies.truth, "full", 20, 10).train()
    report = evaluate_refshapes(fake, processor, level="full", limit=20, videos=10, batch_size=6)
    assert fake.training
    assert (report["n"], report["level"], report["split"], report["seed"]) == (20, "full", "test", 0)
    assert report["ciou"] == report["giou"] == report["precision@0.9"] == report["seg_rate"] == 1
    assert report["statuses"] == {"ok": 17}
    assert tuple(report["by_kind"]) == KINDS
    for figures in report["by_kind"].values():
        assert figures["ciou"] == figures["giou"] == 1
    several = report["by_kind"]["multiple"]
    assert several["object_ciou"] == several["object_giou"] == several["count_accuracy"] == 1
    nothing = report["no_target"]
    assert nothing["n_acc"] == nothing["t_acc"] == nothing["without_seg"] == 1
    assert (nothing["n"], nothing["n_target"]) == (20, 17)
    for answers in report["qa"].values():
        assert answers["accuracy"] == 1
        assert answers["n"] == 20
        assert answers["majority"] < 1
    assert tuple(report["video"]) == ("all", "attribute", "motion", "late", "occlusion", "multiple", "no_target")
    for name, figures in report["video"].items():
        assert figures["j"] == figures["f"] == figures["jf"] == 1
        expected = None if name == "no_target" else 1
        assert figures["mean_iou"] == figures["one_prompt_iou"] == figures["one_prompt_later_iou"] == expected


def test_all_foreground_scores_exactly_the_floor(make_fake, processor, replies):
    """The floor is that of the very scenes that were scored, overall, by kind and on videos."""
    fake = make_fake(replies.all_foreground, "standard", 10, 4)
    report = evaluate_refshapes(fake, processor, limit=10, videos=4)
    assert (report["ciou"], report["giou"]) == (report["floor"]["ciou"], report["floor"]["giou"])
    assert 0.1 < report["ciou"] < 0.7
    for figures in report["by_kind"].values():
        assert (figures["ciou"], figures["giou"]) == (figures["floor_ciou"], figures["floor_giou"])
    assert {kind: figures["n"] for kind, figures in report["by_kind"].items()} == {
        "attribute": 5,
        "relation": 3,
        "superlative": 2,
    }
    for figures in report["video"].values():
        assert figures["j"] == pytest.approx(figures["floor_j"])
    assert report["no_target"]["n_acc"] == 0
    assert report["no_target"]["t_acc"] == 1
    assert [answers["accuracy"] for answers in report["qa"].values()] == [0, 0, 0]


@pytest.mark.parametrize(
    ("reply", "status", "seg_rate"),
    [
        (("Hello.", np.zeros((0, 1, 8, 8), bool)), "no_seg_token", 0),
        (("It is [SEG].", np.zeros((1, 1, 8, 8), bool)), "empty_mask", 1),
        (("It is [SEG].", np.ones((1, 1, 8, 8), bool), -5.0), "no_target", 1),
    ],
)
def test_no_mask_scores_zero_and_says_why(make_fake, processor, replies, reply, status, seg_rate):
    """Expressions without a mask must stay in the sums; they are right only where nothing fits."""
    fake = make_fake(lambda sample: replies.Reply(*reply), "standard", 4)
    report = evaluate_refshapes(fake, processor, limit=4, videos=0)
    assert report["ciou"] == report["giou"] == 0
    assert report["floor"]["ciou"] > 0
    assert report["statuses"] == {status: 4}
    assert report["seg_rate"] == seg_rate
    assert report["no_target"]["n_acc"] == 1
    assert report["no_target"]["t_acc"] == 0
    assert report["no_target"]["without_seg"] == 1 - seg_rate
    assert "video" not in report


def test_several_objects_are_matched_by_order(make_fake, processor, replies):
    """All objects united hide a wrong order: the union is perfect, the objects are not."""

    def reversed_truth(sample):
        reply = replies.truth(sample)
        return replies.Reply(reply.text, reply.masks[::-1].copy())

    report = evaluate_refshapes(make_fake(reversed_truth, "full", 20), processor, level="full", limit=20, videos=0)
    several = report["by_kind"]["multiple"]
    assert several["ciou"] == several["count_accuracy"] == 1
    assert several["object_ciou"] < 0.5


def test_a_missing_object_costs_its_pixels(make_fake, processor, replies):
    """The last of several objects is left out: no [SEG] for it, its pixels stay in the union."""

    def without_last(sample):
        reply = replies.truth(sample)
        return replies.Reply(reply.text.rsplit("[SEG]", 1)[0], reply.masks[:-1]) if len(reply.masks) > 1 else reply

    report = evaluate_refshapes(make_fake(without_last, "full", 20), processor, level="full", limit=20, videos=0)
    several = report["by_kind"]["multiple"]
    assert several["count_accuracy"] == 0
    assert several["object_ciou"] == pytest.approx(several["ciou"])
    assert several["ciou"] < 0.8
    assert report["by_kind"]["attribute"]["ciou"] == 1


def test_branches_are_scored_apart(make_fake, processor, replies):
    def two_branches(sample):
        reply = replies.truth(sample)
        return replies.Reply(reply.text, reply.masks, text_masks=~reply.masks, visual_masks=reply.masks)

    report = evaluate_refshapes(make_fake(two_branches, "easy", 3), processor, level="easy", limit=3, videos=0)
    assert report["by_branch"] == {"text": 0, "visual": 1, "fused": 1}
    plain = evaluate_refshapes(make_fake(replies.truth, "easy", 3), processor, level="easy", limit=3, videos=0)
    assert plain["by_branch"] == {"fused": 1}
    assert plain["error_prediction"] == {}


def test_disagreement_that_comes_with_errors_is_seen(make_fake, processor, replies):
    """Branches that disagree exactly where the mask is wrong score 1; predicted IoUs that are all alike score 1/2."""

    def sometimes_wrong(sample):
        reply = replies.truth(sample)
        wrong = len(reply.masks) == 1 and reply.masks.sum() % 2 == 0
        masks = ~reply.masks if wrong else reply.masks
        return replies.Reply(reply.text, masks, text_masks=reply.masks, visual_masks=masks)

    fake = make_fake(sometimes_wrong, "full", 20)
    report = evaluate_refshapes(fake, processor, level="full", limit=20, videos=0)
    rows = report["error_prediction"]
    assert rows["disagreement"]["auroc"] == rows["disagreement"]["low"] == 1
    assert rows["predicted_iou"]["auroc"] == rows["difference"]["auroc"] == 0.5
    assert rows["disagreement"]["n"] == 17  # 3 of 20 fit nothing and were not marked
    assert 0 < rows["disagreement"]["wrong"] < 17
    assert "disagreement: AUROC 1.000" in summarise(report)


def test_one_prompt_means_the_first_frame_and_memory(make_fake, processor, replies):
    """Words on more than frame 0, or a strategy that prompts every frame, would not test the memory."""
    fake = make_fake(replies.truth, "easy", 1, 3)
    evaluate_refshapes(fake, processor, level="easy", limit=1, videos=3, batch_size=2)
    of_videos = fake.calls[-4:]
    assert [frames for frames, _ in of_videos] == [[[0, 1, 3, 4, 5]] * 2, [[0]] * 2, [[0, 1, 3, 4, 5]], [[0]]]
    assert [strategy for _, strategy in of_videos] == ["memory", "consistent"] * 2
    assert fake.config.track_strategy == "memory"


@pytest.mark.parametrize("mode", ["desa2va", "sa2va"])
def test_an_untrained_model_gets_a_report(make_model, processor, mode, monkeypatch):
    """The real path: generation, both branches, tracking; the report is JSON and the same twice."""
    monkeypatch.setattr(answering, "MAX_NEW_TOKENS", 2)  # untrained models do not stop by themselves
    model = make_model(prompt_mode=mode).train()
    (seg,) = processor.seg_token_ids
    favour_seg = torch.zeros(model.config.get_text_config().vocab_size).index_fill(0, torch.tensor([seg]), 1e4)
    model.get_output_embeddings().register_forward_hook(lambda _, inputs, logits: logits + favour_seg)
    options = {"level": "full", "limit": 3, "videos": 2, "batch_size": 2, "seed": 1}
    reports = [evaluate_refshapes(model, processor, **options) for _ in range(2)]
    first, second = (json.loads(json.dumps(report, allow_nan=False)) for report in reports)
    provenance = first.pop("provenance")
    assert second.pop("provenance") | {"seconds": provenance["seconds"]} == provenance
    assert first == second
    assert model.training
    assert not model.fusion._forward_hooks
    assert provenance["prompt_mode"] == mode
    assert provenance["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert first["seg_rate"] == 1
    if mode == "sa2va":
        assert provenance["mean_gate"] is None
        assert set(first["by_branch"]) == {"fused"}
    else:
        assert 0 < provenance["mean_gate"] < 1
        assert set(first["by_branch"]) == {"text", "visual", "fused"}
    assert "all" in summarise(first)


def test_bad_numbers_are_named(model, processor):
    for wrong in ({"level": "hard"}, {"limit": 0}, {"videos": -1}, {"batch_size": 0}, {"seed": -1}):
        (name,) = wrong
        with pytest.raises(ValueError, match=name):
            evaluate_refshapes(model, processor, **wrong)


@pytest.fixture(scope="module")
def saved_model(make_model, processor, tmp_path_factory):
    """A folder with a tiny model and its processor."""
    folder = tmp_path_factory.mktemp("saved")
    model = make_model()
    model.processor = processor
    model.save_pretrained(folder)
    del model.processor
    return folder


def test_command_line_writes_the_report(saved_model, tmp_path, caplog, monkeypatch):
    """The report names its model by the checksum that `sha256sum model.safetensors` prints; an old one is replaced."""
    monkeypatch.setattr(answering, "MAX_NEW_TOKENS", 4)
    target = tmp_path / "scores.json"
    target.write_text("old")
    with caplog.at_level("INFO"):
        words = ["refshapes", "--model", str(saved_model), "--level", "easy", "--split", "validation", "--seed", "2"]
        assert main([*words, "--limit", "2", "--videos", "0", "--json", str(target), "--device", "cpu"]) == 0
    assert "RefShapes easy, validation split, seed 2, 2 scenes" in caplog.text
    report = json.loads(target.read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]
    assert (report["level"], report["split"], report["seed"], report["n"]) == ("easy", "validation", 2, 2)
    digest = hashlib.sha256((saved_model / "model.safetensors").read_bytes()).hexdigest()
    provenance = report["provenance"]
    assert (provenance["model"], provenance["weights_sha256"]) == (str(saved_model), digest)
    assert (provenance["device"], provenance["dtype"]) == ("cpu", "float32")
    assert provenance["torch"] == torch.__version__.split("+")[0] or provenance["torch"] == torch.__version__


def test_a_bad_target_fails_before_the_work(tmp_path):
    """Guards minutes of scoring whose report cannot be written."""
    import argparse

    parser = argparse.ArgumentParser()
    add_refshapes_arguments(parser)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        run(parser.parse_args(["--model", "no-such-folder", "--json", str(tmp_path / "absent" / "scores.json")]))
    with pytest.raises(OSError, match="is a folder"):
        run(parser.parse_args(["--model", "no-such-folder", "--json", str(tmp_path)]))
