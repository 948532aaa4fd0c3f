"""Scores on a fine-tune JSON: truth scores 1, wrong answers what the definition says, files hold what they promise."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from desa2va.eval import finetune
from desa2va.training.data.sources import open_source

HEIGHT, WIDTH = 40, 60


@pytest.fixture
def data(tmp_path):
    """A picture with a block on the left, one expression for it, one for nothing; a video of two frames."""
    folder = tmp_path / "images"
    (folder / "clip").mkdir(parents=True)
    for name in ("a.png", "clip/0.png", "clip/1.png"):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(folder / name)
    square = [[0, 0, 30, 0, 30, 40, 0, 40]]
    records = [
        {"image": "a.png", "text": ["the block", "the dog"], "mask": [square, None]},
        {"image": "a.png", "caption": "A block."},
        {"video": ["clip/0.png", "clip/1.png"], "text": ["the block"], "mask": [[square, None]]},
    ]
    path = tmp_path / "train.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


def answer(masks, text="Sure, it is [SEG]."):
    """A result with these masks (T, H, W), one per object."""
    objects = [SimpleNamespace(masks=mask) for mask in masks]
    return SimpleNamespace(objects=objects, raw_text=text, status="ok" if objects else "no_seg_token")


def stub(monkeypatch, replies):
    """Lets `predict` meet a model whose results are `replies`, one list per record with expressions."""
    waiting = iter(replies)

    class Processor:
        def __call__(self, text, task, **visual):
            assert task == "auto"
            assert all(entry.startswith("Please segment") for entry in text)
            return {}

        def post_process(self, outputs, inputs, **thresholds):
            return next(waiting)

    config = SimpleNamespace(mask_threshold=0.0, object_score_threshold=0.0)
    model = SimpleNamespace(generate=lambda **_: None, config=config, training=False, eval=lambda: None, train=bool)
    return model, Processor()


def masks_of(*columns, frames=1):
    """Bool (frames, H, W) with these columns set."""
    mask = np.zeros((frames, HEIGHT, WIDTH), bool)
    mask[:, :, slice(*columns)] = True
    return mask


def test_truth_scores_one_and_halves_are_united(data, monkeypatch, tmp_path):
    """Guards the union of several predicted objects, empty on empty, and the mean over expressions."""
    clip = masks_of(0, 30, frames=2)
    clip[1] = False
    replies = [[answer([masks_of(0, 20), masks_of(10, 30)]), answer([], "There is no dog.")], [answer([clip])]]
    model, processor = stub(monkeypatch, replies)
    figures = finetune.evaluate(model, processor, open_source(str(data)).records(), overlays=tmp_path / "sheets")
    assert figures["giou"] == figures["ciou"] == figures["n_acc"] == figures["t_acc"] == figures["video_j"] == 1.0
    assert [row["iou"] for row in figures["expressions"]] == [1.0] * 3
    assert [row["target"] for row in figures["expressions"]] == [True, False, True]
    assert figures["expressions"][1]["answer"] == "There is no dog."
    sheets = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert sheets == ["00000.png", "00002.png"]
    assert Image.open(tmp_path / "sheets" / "00000.png").width == 2 * finetune.TILE_WIDTH


def test_wrong_answers_count_as_defined(data, monkeypatch):
    """Half the block is IoU 1/2; a mask for nothing is 0; a missed video is 0 on one frame and 1 on the empty one."""
    replies = [[answer([masks_of(0, 15)]), answer([masks_of(0, 6)])], [answer([])]]
    model, processor = stub(monkeypatch, replies)
    figures = finetune.evaluate(model, processor, open_source(str(data)).records())
    assert [row["iou"] for row in figures["expressions"]] == [0.5, 0.0, 0.5]
    assert figures["giou"] == pytest.approx((0.5 + 0 + 0) / 3)
    assert figures["ciou"] == pytest.approx(15 / (30 + 6 + 30))
    assert figures["n_acc"] == 0.0
    assert figures["t_acc"] == 0.5
    assert figures["video_j"] == 0.5


def test_nothing_to_score(data):
    """Guards against a mean over no expressions."""
    records = [record for record in open_source(str(data)).records() if not finetune.expressions(record)]
    with pytest.raises(ValueError, match="nothing to score"):
        finetune.evaluate(None, None, records)


def test_command_with_a_real_model(data, make_model, processor, tmp_path):
    """Guards the command: an untrained model runs through pictures and videos and the file names what was measured."""
    folder = tmp_path / "model"
    model = make_model()
    model.processor = processor
    model.save_pretrained(folder)
    target = tmp_path / "scores.json"
    arguments = ["--model", str(folder), "--data", str(data), "--json", str(target), "--device", "cpu"]
    assert finetune.main([*arguments, "--overlays", str(tmp_path / "sheets")]) == 0
    report = json.loads(target.read_text(encoding="utf-8"))
    assert report["n"] == 3
    assert report["n_no_target"] == 1
    assert 0 <= report["giou"] <= 1
    assert len(report["data_sha256"]) == 64
    assert report["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert (tmp_path / "sheets" / "00002.png").is_file()


def test_a_folder_is_scored(make_model, processor, tmp_path):
    """Guards the other kinds of data: the folder was read as if it were one file, after all its answers were made."""
    photos = tmp_path / "photos"
    for name, value in (("images", 90), ("masks", 1)):
        (photos / name).mkdir(parents=True)
        Image.fromarray(np.full((24, 32), value, np.uint8)).save(photos / name / "a.png")
    (photos / "expressions.csv").write_text("image,object,expression\na.png,1,all of it\n", encoding="utf-8")
    model = make_model()
    model.processor = processor
    model.save_pretrained(tmp_path / "model")
    target = tmp_path / "scores.json"
    arguments = ["--model", str(tmp_path / "model"), "--data", str(photos), "--json", str(target), "--device", "cpu"]
    digests = []
    for value in (1, 1, 2):
        Image.fromarray(np.array([[1, value] * 16] * 24, np.uint8)).save(photos / "masks" / "a.png")
        assert finetune.main(arguments) == 0
        digests.append(json.loads(target.read_text(encoding="utf-8"))["data_sha256"])
    assert digests[0] == digests[1] != digests[2]  # another mask is another truth


def test_wrong_data_is_refused(data):
    """Guards against scores of the records that happened to be right."""
    data.write_text(json.dumps([{"image": "b.png", "text": [], "mask": []}]), encoding="utf-8")
    with pytest.raises(ValueError, match="record 0 .*no file"):
        finetune.main(["--model", "desa2va-tiny", "--data", str(data)])


@pytest.mark.parametrize(
    ("words", "error", "word"),
    [
        (["--json", "nowhere/scores.json"], FileNotFoundError, "does not exist"),
        (["--json", "."], IsADirectoryError, "is a folder"),
        (["--overlays", "images"], ValueError, "is or holds the input"),
        (["--overlays", "train.json"], FileExistsError, "exists"),
        (["--limit", "0"], ValueError, "at least 1"),
    ],
)
def test_targets_are_looked_at_before_the_work(data, words, error, word, tmp_path, monkeypatch):
    """`--json` into nowhere failed after the last record; a sheet named 00000.png replaced a picture of that name."""
    monkeypatch.chdir(tmp_path.parent)
    places = [str(tmp_path / part) if not part.startswith("--") and part != "0" else part for part in words]
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(finetune, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(error, match=word):
        finetune.main(["--model", "desa2va-tiny", "--data", str(data), *places])
    assert sorted(tmp_path.rglob("*")) == before
