"""The fine-tune JSON: every right spelling gives the right pixels, every wrong one is named at once."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from desa2va.cli import main
from desa2va.processing.files import VideoWriter
from desa2va.training.arguments import DeSa2VATrainingArguments, MaskLossArguments
from desa2va.training.data.build import open_dataset
from desa2va.training.data.mask_codes import encode_mask
from desa2va.training.data.mixture import Mixture
from desa2va.training.data.readers import read_finetune
from desa2va.training.data.record_lengths import check_lengths, too_long
from desa2va.training.data.record_media import read_frames, unreadable
from desa2va.training.data.records import Record, RecordError
from desa2va.training.data.refshapes.dataset import RefShapes
from desa2va.training.data.refshapes.disk import DEFAULT_KINDS, write_refshapes
from desa2va.training.data.wording import bare_phrase, segment_request
from desa2va.training.label_states import LabelReader
from desa2va.training.phases import build_objective

HEIGHT, WIDTH = 24, 32
SQUARE = [4, 6, 12, 6, 12, 14, 4, 14]  # columns 4 to 11, rows 6 to 13
OTHER = [20, 6, 28, 6, 28, 14, 20, 14]


def block(left):
    """The mask of `SQUARE` (left=4) or `OTHER` (left=20)."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[6:14, left : left + 8] = True
    return mask


def list_counts(mask):
    """An uncompressed run-length code: column by column, zeros first."""
    flat = mask.T.reshape(-1).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), len(flat)]
    return {"size": list(mask.shape), "counts": np.diff(edges).tolist()}


@pytest.fixture
def folder(tmp_path):
    """`images/` with a picture `a.png` and four frames `clip/0.png`, ...; frame t is filled with grey t * 40."""
    for name, grey in (("a.png", 90), *((f"clip/{t}.png", 40 * t) for t in range(4))):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), grey, np.uint8)).save(path)
    return tmp_path


def write(folder, *records, name="train.json"):
    path = folder / name
    path.write_text(json.dumps(list(records)), encoding="utf-8")
    return path


def dataset(folder, *records, **options):
    return open_dataset(write(folder, *records), **options)


def record(**changes):
    return {"image": "a.png", "text": ["the block"], "mask": [[SQUARE]], **changes}


@pytest.mark.parametrize(
    "mask",
    [
        [SQUARE],
        encode_mask(block(4)),
        [encode_mask(block(4))],
        list_counts(block(4)),
    ],
    ids=["polygon", "text counts", "list of codes", "list counts"],
)
def test_every_spelling_of_a_mask_gives_the_same_pixels(folder, mask):
    """Guards against a spelling that is transposed, shifted or read as another size."""
    sample = dataset(folder, record(mask=[mask]))[0]
    (conversation,) = sample.conversations
    assert conversation.masks.shape == (1, 1, HEIGHT, WIDTH)
    assert np.array_equal(conversation.masks[0, 0], block(4))
    assert sample.frames.shape == (1, HEIGHT, WIDTH, 3)
    assert not sample.is_video


def test_several_parts_are_united(folder):
    """Guards against two [SEG] for one expression, and against overlaps that add up to nothing."""
    parts = [SQUARE, encode_mask(block(20)), SQUARE]
    (conversation,) = dataset(folder, record(mask=[parts], text=["both blocks"]))[0].conversations
    assert np.array_equal(conversation.masks[0, 0], block(4) | block(20))
    assert conversation.turns == (("Please segment both blocks.", "Sure, it is [SEG]."),)


def test_expressions_become_conversations(folder):
    """Guards the wording: inference puts the same words around an expression, and "nothing" has no [SEG]."""
    texts = ["the block on the left", "The dog.", "Where is it?"]
    sample = dataset(folder, record(text=texts, mask=[[SQUARE], None, [OTHER]]))[0]
    first, nothing, asked = sample.conversations
    assert first.turns == (("Please segment the block on the left.", "Sure, it is [SEG]."),)
    assert first.labels == ("block on the left",)
    assert nothing.turns == (("Please segment the dog.", "There is no dog."),)
    assert nothing.masks.shape == (0, 1, HEIGHT, WIDTH)
    assert nothing.labels == ()
    assert asked.turns[0][0] == "Where is it?"


def test_request_is_that_of_the_processor(processor, folder):
    """Guards against training on one request and asking another at inference."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    asked = processor(images=picture, text="the block", task="segment")["input_ids"]
    trained = processor(images=picture, text=segment_request("the block"), task="auto")["input_ids"]
    assert asked.tolist() == trained.tolist()


@pytest.mark.parametrize(
    ("text", "phrase"),
    [("the dog", "dog"), ("A dog.", "dog"), ("theatre", "theatre"), ("the", "the"), ("собака", "собака")],
)
def test_bare_phrase(text, phrase):
    """Guards against articles cut out of words, and against empty labels."""
    assert bare_phrase(text) == phrase


def test_caption_and_chat(folder):
    """Guards chat data: no masks, no placeholder of the picture in the text, order of turns kept."""
    chat = [
        {"from": "human", "value": "<image>\nWhat is it?"},
        {"from": "gpt", "value": "A block."},
        {"from": "human", "value": "And the other?"},
        {"from": "gpt", "value": "A block too."},
    ]
    sample = dataset(folder, {"image": "a.png", "caption": "Two blocks.", "conversations": chat})[0]
    caption, talk = sample.conversations
    assert caption.turns == (("Describe the image.", "Two blocks."),)
    assert talk.turns == (("What is it?", "A block."), ("And the other?", "A block too."))
    assert talk.masks.shape == (0, 1, HEIGHT, WIDTH)


def test_video_frames_and_masks_stay_together(folder):
    """Guards against a mask that belongs to another frame, also after frames were drawn."""
    masks = [None, [SQUARE], encode_mask(block(20)), [SQUARE, OTHER]]
    names = [f"clip/{t}.png" for t in range(4)]
    data = dataset(folder, {"video": names, "text": ["the block"], "mask": [masks]}, num_frames=2, repeat=8)
    truth = [np.zeros((HEIGHT, WIDTH), bool), block(4), block(20), block(4) | block(20)]
    shown = set()
    for index in range(len(data)):
        sample = data[index]
        assert sample.is_video
        times = [int(frame[0, 0, 0]) // 40 for frame in sample.frames]
        assert times == sorted(set(times))
        assert sample.seconds == tuple(time / 24 for time in times)  # pictures state no rate
        assert np.array_equal(sample.conversations[0].masks[0], np.stack([truth[t] for t in times]))
        shown.add(tuple(times))
    assert tuple(int(frame[0, 0, 0]) // 40 for frame in data[0].frames) == (0, 3)
    assert len(shown) > 1


def test_folder_of_frames_is_a_video(folder):
    """Guards the second spelling of a video."""
    data = dataset(folder, {"video": "clip", "text": ["it"], "mask": [[[SQUARE]] * 4]})
    assert data[0].frames.shape == (4, HEIGHT, WIDTH, 3)
    assert data[0].frames[:, 0, 0, 0].tolist() == [0, 40, 80, 120]


def test_json_lines_and_explicit_root(folder):
    """Guards the line-by-line file, which has no brackets, and file names relative to a given folder."""
    path = folder / "elsewhere" / "train.jsonl"
    path.parent.mkdir()
    path.write_text("\n".join(json.dumps(record()) for _ in range(3)) + "\n\n", encoding="utf-8")
    assert len(open_dataset(path, image_root=folder / "images", repeat=2)) == 6


def test_drawn_conversations_are_reproducible(folder):
    """Guards resumption: the same index gives the same sample in every process, another repetition another draw."""
    many = record(text=[f"block {i}" for i in range(9)], mask=[[SQUARE]] * 9)
    data = dataset(folder, many, conversations=3, repeat=6)
    drawn = [tuple(c.labels[0] for c in data[index].conversations) for index in range(6)]
    assert all(len(set(labels)) == 3 for labels in drawn)
    assert len(set(drawn)) > 1
    assert drawn == [tuple(c.labels[0] for c in data[index].conversations) for index in range(6)]


def test_large_pictures_shrink_with_their_masks(folder):
    """Guards against masks left at the old size, or shifted: a pixel takes what lies at its centre, not its corner."""
    sample = dataset(folder, record(), image_size=8)[0]
    assert sample.frames.shape == (1, 6, 8, 3)
    assert np.array_equal(sample.conversations[0].masks[0, 0], block(4)[2::4, 2::4])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (record(image="b.png"), "no file .*b.png"),
        (record(image="../train.json"), "leads out of"),
        (record(image=""), "file name"),
        (record(video="clip"), "either one"),
        (record(text=["one", "two"]), "2 texts but 1 masks"),
        (record(text=[" "]), "text 0: must be an expression"),
        (record(text=["the [SEG]"]), "only answers hold"),
        (record(text="the block"), "'text' is a list"),
        (record(mask=[[]]), "null for no target"),
        (record(mask=[SQUARE]), "put the polygon into a list"),
        (record(mask=[[[4, 6, 12, 6]]]), "three or more"),
        (record(mask=[[[*SQUARE, 3]]]), "three or more"),
        (record(mask=[[[1, 1, 9, 1, 5, 1]]]), "no pixel"),
        (record(mask=[[[v * 4 for v in SQUARE]]]), "leaves the picture"),
        (record(mask=[[[float("nan"), *SQUARE[1:]]]]), "leaves the picture"),
        (record(mask=[encode_mask(block(4).T)]), r"the code is \[32, 24\] but the picture is \[24, 32\]"),
        (record(mask=[{"size": [HEIGHT, WIDTH], "counts": [5, 3]}]), "add up to 8"),
        (record(mask=[{"size": [HEIGHT, WIDTH], "counts": "été"}]), "no run-length code"),
        (record(mask=[encode_mask(np.zeros((HEIGHT, WIDTH), bool))]), "no pixel"),
        (record(mask=[{"size": [HEIGHT, WIDTH]}]), "'size' and 'counts'"),
        (record(mask=[{"size": 5, "counts": "12"}]), "two positive integers"),
        (record(mask=[{"size": [HEIGHT, WIDTH], "counts": "12"}]), "add up to 3"),
        (record(mask=[[SQUARE, {"size": [HEIGHT, WIDTH], "counts": "12"}]]), "add up to 3"),
        (record(mask=[{"size": [HEIGHT, WIDTH], "counts": [0.5, HEIGHT * WIDTH - 0.5]}]), "got 0.5"),
        (record(mask=[[[True, *SQUARE[1:]]]]), "flat list of numbers"),
        (record(mask=[[[0, 0, WIDTH, HEIGHT] * 100_000]]), "outline is longer"),
        ({"image": "a.png"}, "nothing to learn"),
        (record(caption="See [SEG]."), "there is no mask"),
        (record(conversations=[{"from": "gpt", "value": "hello"}]), "must alternate"),
        ({"video": "clip", "text": ["it"], "mask": [[[SQUARE]] * 3]}, "needs a list of 4"),
        ({"video": "clip", "text": ["it"], "mask": [[None] * 4]}, "no frame shows the object"),
        ({"video": ["a.png", "clip/9.png"], "text": [], "mask": []}, "no file"),
        ("a.png", "a record is a JSON object"),
    ],
)
def test_wrong_records_are_named_before_training(folder, wrong, message):
    """Guards against an error in hour nine: number, file and remedy are in the message, right records are not."""
    with pytest.raises(ValueError, match=message) as error:
        dataset(folder, record(), wrong, record())
    assert "record 1" in str(error.value)
    assert "record 0" not in str(error.value)
    assert "train.json" in str(error.value)


def test_frames_of_different_sizes_are_named(folder):
    """Guards against a mixed folder listed as one video."""
    Image.new("RGB", (8, 8)).save(folder / "images" / "small.png")
    with pytest.raises(ValueError, match=r"small.png is 8 x 8"):
        dataset(folder, {"video": ["a.png", "small.png"], "text": ["it"], "mask": [[None, None]]})


def test_many_problems_are_counted_not_poured_out(folder):
    """Guards the message: the first ones in full, the number of all."""
    with pytest.raises(ValueError, match="9 of its records are wrong.* and 4 more") as error:
        dataset(folder, *[record(image="b.png")] * 9)
    assert str(error.value).count("no file") == 5
    assert sum(isinstance(item, RecordError) for item in read_finetune(folder / "train.json")) == 9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not valid JSON"),
        ("[]", "at least one"),
        ("", "at least one"),
        ("7", "list of records"),
        ("[{},,{}]", "record 1: not valid JSON"),
        ("[{} {}]", "after record 0: not valid JSON"),
        ("[{}] 5", "text after the list"),
    ],
)
def test_files_that_are_no_list_of_records(folder, content, message):
    """Guards against a traceback of the JSON parser without the file's name."""
    path = folder / "train.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        list(read_finetune(path))
    assert "train.json" in str(error.value)


def test_missing_file(tmp_path):
    """Guards the error for a mistyped name."""
    with pytest.raises(FileNotFoundError, match="nowhere.json"):
        open_dataset(tmp_path / "nowhere.json")


@pytest.mark.parametrize("option", ["conversations", "image_size", "num_frames", "repeat"])
def test_impossible_options(folder, option):
    """Guards against a silent empty data set."""
    with pytest.raises(ValueError, match=f"{option}=0"):
        dataset(folder, record(), **{option: 0})


def test_truncated_picture_is_found_by_the_check_and_named_in_training(folder):
    """Guards against a header that reads well in front of broken pixels."""
    path = folder / "images" / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:400])
    data = dataset(folder, record())
    (problem,) = unreadable(data.records[0])
    assert "a.png" in str(problem)
    with pytest.raises(ValueError, match=r"record 0.*truncated or broken"):
        data[0]


def test_check_command(folder, capsys):
    """Guards the command: counts and exit code 0 where all is well, every problem on its line and 1 where not."""
    path = write(folder, record(text=["the block", "the dog"], mask=[[SQUARE], None]), record(caption="A block."))
    assert main(["data", "check", str(path)]) == 0
    out = capsys.readouterr().out
    for part in ("2 pictures", "3 expressions", "1 without target", "1 chat turns", "no problems"):
        assert part in out
    (folder / "images" / "clip" / "0.png").write_bytes((folder / "images" / "a.png").read_bytes()[:60])
    path = write(folder, record(), record(image="b.png"), record(image="clip/0.png"))
    assert main(["data", "check", str(path)]) == 1
    out = capsys.readouterr().out
    assert "train.json, record 1 (b.png), image: no file" in out
    assert "record 2" in out
    assert "clip/0.png: the picture is truncated" in out.replace("(", "").replace(")", "")
    assert "2 problems" in out


def test_refshapes_written_as_finetune_reads_back(tmp_path):
    """Guards the two ends of one format: pictures, videos, unions, absent targets, pixel for pixel."""
    options = {"video_fraction": 0.4, "conversations": 3}
    folder = write_refshapes(tmp_path / "set", "finetune", splits={"train": 10}, progress=False, **options)
    shapes = RefShapes("train", "full", length=10, kinds=DEFAULT_KINDS["finetune"], **options)
    data = open_dataset(folder / "train.json", num_frames=100)
    assert len(data) == 10
    assert {sample.is_video for sample in data} == {True, False}
    for read, made in zip(data, shapes, strict=True):
        assert np.array_equal(read.frames, made.frames)
        for own, original in zip(read.conversations, made.conversations, strict=True):
            assert np.array_equal(own.masks.any(axis=0), original.masks.any(axis=0))
            assert len(own.masks) == min(1, len(original.masks))


def test_collated_and_learned(processor, make_model, folder):
    """Guards the whole path: a few steps on two records must lower the loss of masks and words."""
    data = dataset(folder, record(), record(text=["the dog", "the right block"], mask=[None, [OTHER]]))
    batch = processor.collate([data[0], data[1]])
    assert len(batch["mask_labels"]) == 2
    model = make_model().train()
    weights = {"language": 1.0, "visual_mask": 1.0, "fused_mask": 1.0}
    arguments = DeSa2VATrainingArguments(output_dir=str(folder / "run"), phase="fusion", weights=weights)
    reader = LabelReader(model, processor.tokenizer)
    objective = build_objective(model, arguments, MaskLossArguments(mask_target_size=32), processor, reader)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(6):
        terms = objective(**batch)["terms"]
        loss = sum(weights.get(name, 0.0) * term for name, term in terms.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append({name: float(terms[name].detach()) for name in weights})
    for name in weights:
        assert losses[-1][name] < losses[0][name], f"{name} did not fall: {losses}"


def test_coco_mask_of_a_record_decodes_as_pycocotools_does(folder):
    """Guards the rasteriser: concave polygons have the pixels that COCO's own tools give them."""
    polygon = [3.5, 2.2, 25.1, 4.9, 12.3, 11.7, 22.8, 20.4, 5.1, 18.6]
    sample = dataset(folder, record(mask=[[polygon]]))[0]
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([polygon], HEIGHT, WIDTH)))
    assert np.array_equal(sample.conversations[0].masks[0, 0], expected.astype(bool))


TURNS = [{"from": "human", "value": "a" * 900}, {"from": "gpt", "value": "b"}]
HOSTILE = {
    "size": ('{"image": "a.png", "text": ["x"], "mask": [{"size": 5, "counts": "12"}]}', "mask 0: the size of a run"),
    "number": ('{"image": "a.png", "text": ["x"], "mask": [[[1MANY, 1, 2, 2, 3, 3]]]}', "mask 0: polygon x"),
    "depth": ('{"image": "a.png", "text": ["x"], "mask": [DEEP]}', "record: .*too deeply"),
    "surrogate name": (r'{"image": "\ud800.png", "caption": "a block"}', r"image: no file .*\\ud800.png"),
    "zero byte": (r'{"image": "\u0000.png", "caption": "a block"}', "image: no file"),
    "long name": ('{"image": "LONG.png", "caption": "a block"}', "image: "),
    "folder": ('{"image": "clip", "caption": "a block"}', "image: .*no such file"),
    "exif": ('{"image": "exif.png", "caption": "a block"}', "image: .*EXIF"),
    "surrogate text": (r'{"image": "a.png", "caption": "a \ud800 block"}', "caption: is no Unicode text"),
    "long text": ('{"image": "a.png", "caption": "LONGLONGLONGLONG"}', "caption: 80000 bytes"),
    "too long for the model": ('{"image": "a.png", "text": ["LONG"], "mask": [null]}', r"text 0: .*max_length=2048"),
    "chat too long for the model": (
        json.dumps({"image": "a.png", "conversations": 3 * TURNS}),
        "conversations: .*max_length=2048",
    ),
    "null": ("null", "record: a record is a JSON object, got NoneType"),
}
FILLED = {"MANY": "0" * 5000, "DEEP": "[" * 99999 + "]" * 99999, "LONG": "block " * 3333 + "ab"}


@pytest.mark.parametrize("lines", [True, False], ids=["jsonl", "json"])
def test_every_record_is_checked_on_its_own(folder, capsys, lines):
    """One hostile record ended the check of all others, unnamed; some passed and stopped training in hour nine."""
    exif = b"Exif\0\0no block"
    Image.new("RGB", (8, 8)).save(folder / "images" / "exif.png", exif=exif)
    good = json.dumps({"image": "a.png", "caption": "a block\u2028and a line"}, ensure_ascii=False)
    records = [re.sub("MANY|DEEP|LONG", lambda word: FILLED[word[0]], text) for text, _ in HOSTILE.values()]
    path = folder / ("all.jsonl" if lines else "all.json")
    parts = [part for text in records for part in (text, good)]
    path.write_text("\n".join(parts) if lines else f"[{', '.join(parts)}]", encoding="utf-8")
    assert main(["data", "check", str(path)]) == 1
    out = capsys.readouterr().out
    for number, (name, (_, message)) in enumerate(HOSTILE.items()):
        found = [line for line in out.splitlines() if re.match(rf"{path.name}, record {2 * number}[ ,]", line)]
        assert len(found) == 1, name
        assert re.search(message, found[0]), (name, found)
        assert len(found[0]) < 510
    assert f"{len(records) + 3} pictures" in out  # three are wrong only when they are decoded or encoded
    assert f"{len(records)} problems" in out
    assert out.isascii()


def test_a_line_that_is_no_json_is_one_problem(folder):
    (folder / "a.jsonl").write_text(json.dumps(record()) + "\n{\n" + json.dumps(record()))
    first, problem, last = read_finetune(folder / "a.jsonl")
    assert str(problem).startswith("a.jsonl, record 1, record: line 2 is not valid JS")
    assert isinstance(first, Record)
    assert isinstance(last, Record)


def test_problems_are_counted_by_kind(folder, capsys):
    """20,000 lines were printed where twenty and a count tell the same."""
    path = write(folder, *[record(image="b.png")] * 50, *[record(text=[""])] * 3)
    assert main(["data", "check", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum("no file" in line for line in lines) == 20
    assert lines[20] == "... and 30 more records whose image is wrong"
    assert sum("text 0: must be" in line for line in lines) == 3
    assert lines[-1].endswith("; 53 problems")


def test_what_passes_is_learned(processor, folder):
    """A text of 100,000 letters passed the check and stopped training when its turn came."""
    short, long = "☃ " * 400, "☃ " * 600
    data = dataset(
        folder, record(text=[short.strip()]), record(text=[long.strip()]), {"image": "a.png", "caption": long}
    )
    assert too_long(data.records[0], processor) == []
    assert processor.collate([data[0]])["input_ids"].shape[1] > 1500
    for number, named in ((1, "text 0"), (2, "conversations")):
        (problem,) = too_long(data.records[number], processor)
        assert str(problem).startswith(f"train.json, record {number} ({data.records[number].paths[0]}), {named}: ")
        with pytest.raises(ValueError, match="max_length=2048"):
            processor.collate([data[number]])
    with pytest.raises(ValueError, match=r"train.json, record 1 .*max_length=2048"):
        check_lengths(Mixture([data], [1.0], 4), processor)


def test_masks_on_every_nth_frame_of_a_video_file(tmp_path):
    """Guards against masks of SA-V, on every fourth frame, that say of the others that they show nothing."""
    with VideoWriter(tmp_path / "clip.mp4", 24) as video:
        for frame in range(9):
            video.write(np.full((32, 48, 3), 20 * frame, np.uint8))
    code = encode_mask(np.ones((32, 48), bool))
    entry = {"video": "clip.mp4", "stride": 4, "text": ["it"], "mask": [[code, None, code]]}
    lists = {"video": ["a.png"], "stride": 2, "text": ["it"], "mask": [[code]]}
    Image.new("RGB", (48, 32)).save(tmp_path / "a.png")
    bad = [{**entry, "stride": 0}, {**entry, "stride": True}, {**entry, "stride": 3, "mask": [[code]]}, lists]
    (tmp_path / "train.json").write_text(json.dumps([entry, *bad]))
    record, *errors = read_finetune(tmp_path / "train.json")
    assert (record.num_frames, record.stride) == (3, 4)
    assert [round(frame.mean() / 20) for frame in read_frames(record, [0, 1, 2])] == [0, 4, 8]
    assert [error.field for error in errors] == ["stride", "stride", "mask 0", "stride"]
