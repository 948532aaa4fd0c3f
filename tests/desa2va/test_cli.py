"""The command line: help that teaches, errors of one line, outputs that are complete or absent."""

import io
import json
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
from PIL import Image

from desa2va.cli import COMMANDS, build_parser, main
from desa2va.commands import common, doctor, segment
from desa2va.modeling_desa2va.conversation import DeSa2VAConversation
from desa2va.processing.inputs import video_decoding

NAMES = (
    "demo",
    "segment",
    "chat",
    "serve",
    "web",
    "train",
    "data",
    "annotate",
    "eval",
    "report",
    "calibrate",
    "reproduce",
    "probe",
    "ablate",
    "export",
    "convert",
    "merge",
    "doctor",
)


def test_every_command_is_listed_and_explains_itself_with_examples(capsys):
    """A newcomer has nothing but `--help`."""
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    overview = capsys.readouterr().out
    assert len(COMMANDS) == len(NAMES)
    listed = {line.split()[0] for line in overview.splitlines() if line.startswith("    ") and line.strip()}
    for name in NAMES:
        assert name in listed
        with pytest.raises(SystemExit):
            main([name, "--help"])
        text = capsys.readouterr().out
        assert "examples:" in text
        assert f"desa2va {name}" in text


def test_help_does_not_load_torch():
    """`--help` must answer at once."""
    code = "import sys; from desa2va.cli import build_parser; build_parser(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segment", "nowhere.png", "the circle"], "no file or folder 'nowhere.png'"),
        (["chat", "nowhere.png", "what is it?"], "no file or folder 'nowhere.png'"),
        (["segment", "PICTURE", "the circle", "--model", "./nowhere"], "no folder './nowhere'"),
        (["segment", "PICTURE", "the circle", "--max-frames", "0"], "--max-frames: '0' is no"),
        (["export", "USED"], "not an empty folder"),
        (["data", "refshapes", "--out", "USED"], "not an empty folder"),
        (["data", "refshapes", "--out", "new", "--limit", "0"], "'0' is no whole number of at least 1"),
        (["train", "no_such_configuration"], "no_such_configuration"),
        (["train", "tiny", "--overrides", "nonsense"], "nonsense"),
    ],
)
def test_wrong_requests_are_one_line_and_exit_code_2(arguments, message, picture, tmp_path, monkeypatch, capsys):
    """A traceback tells a user nothing; a half-written output is worse."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("keep")
    places = {"PICTURE": str(picture), "USED": "used"}
    code = main([places.get(word, word) for word in arguments])
    captured = capsys.readouterr()
    assert code == 2
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_debug_shows_the_traceback(tmp_path):
    """Whoever reports a bug needs it; the word may stand anywhere."""
    with pytest.raises(FileNotFoundError):
        main(["segment", str(tmp_path / "nowhere.png"), "the circle", "--debug"])


def test_warnings_are_one_line_and_not_repeated_per_frame(monkeypatch, capsys):
    """A video of 300 frames must not print 300 warnings that differ in the frame's number."""

    def run(args):
        for frame in range(3):
            warnings.warn(f"frame {frame} is broken", stacklevel=1)
        return 0

    monkeypatch.setattr(doctor, "run", run)
    assert main(["doctor"]) == 0
    assert capsys.readouterr().err == "desa2va: warning: frame 0 is broken\n"


def test_unknown_arguments_are_refused(capsys):
    """A misspelled option must not be ignored."""
    assert main(["doctor", "--modell", "x"]) == 2
    assert "--modell" in capsys.readouterr().err


def test_train_gets_its_arguments_unchanged(monkeypatch):
    """`desa2va train` and `accelerate launch -m desa2va.training.train` must be the same program, but for scores."""
    seen = []
    fake = types.ModuleType("desa2va.training.train")
    fake.main = lambda words, scorer: seen.append(words) or 0
    monkeypatch.setitem(sys.modules, "desa2va.training.train", fake)
    assert main(["train", "tiny", "--overrides", "seed=3", "training.max_steps=2"]) == 0
    assert seen == [["tiny", "seed=3", "training.max_steps=2"]]


def test_eval_hands_its_options_to_the_benchmark(monkeypatch, capsys):
    """An option that does not arrive changes a published score silently."""
    seen = []
    fake = types.ModuleType("desa2va.eval.refshapes")
    fake.run = lambda args: seen.append(args) or {"ciou": 0.5}
    fake.summarise = lambda report: f"cIoU {report['ciou']}"
    monkeypatch.setitem(sys.modules, "desa2va.eval.refshapes", fake)
    assert (
        main(
            ["eval", "refshapes", "--model", "M", "--level", "easy", "--split", "train", "--seed", "4", "--limit", "5"]
        )
        == 0
    )
    assert (seen[0].model, seen[0].level, seen[0].split, seen[0].seed, seen[0].limit) == ("M", "easy", "train", 4, 5)
    assert "cIoU 0.5" in capsys.readouterr().out


def check_segmentation(folder, count, size, names):
    """Everything `desa2va segment` promises lies in the folder, with one entry per frame at the size of the source."""
    assert {path.name for path in folder.iterdir()} == {
        ".desa2va",
        "masks",
        "coco.json",
        "result.json",
        "answers.json",
        *names,
    }
    masks = sorted((folder / "masks").iterdir())
    assert [path.name for path in masks] == [f"{index:05d}.png" for index in range(count)]
    coco = json.loads((folder / "coco.json").read_text())
    assert [(entry["height"], entry["width"]) for entry in coco["images"]] == [size] * count
    for path in masks:
        image = Image.open(path)
        assert image.mode == "P"
        assert (image.height, image.width) == size


def test_segment_a_picture_with_two_requests(saved_model, picture, tmp_path, capsys):
    """Objects of several requests share one overlay, numbered through; a used target is refused, then replaced."""
    from desa2va.processing.results.results import SegmentationResult

    out = tmp_path / "out"
    words = ["segment", str(picture), "the red square", "the circle", "--out", str(out), "--model", str(saved_model)]
    words += ["--device", "cpu", "--max-new-tokens", "4"]
    assert main(words) == 0
    check_segmentation(out, 1, (48, 64), ["overlay.png"])
    assert np.asarray(Image.open(out / "overlay.png")).shape == (48, 64, 3)
    answers = json.loads((out / "answers.json").read_text())
    assert [answer["request"] for answer in answers] == ["the red square", "the circle"]
    numbers = [number for answer in answers for number in answer["objects"]]
    result = SegmentationResult.from_json(out / "result.json")
    assert numbers == [entry.object_id for entry in result.objects] == list(range(len(numbers)))
    assert len(numbers) >= 2
    assert "the red square" in capsys.readouterr().out
    assert main(words) == 2
    assert "--replace" in capsys.readouterr().err
    assert main([*words, "--replace"]) == 0


def test_segment_the_first_frames_of_a_folder(saved_model, frames, tmp_path):
    """`--max-frames` bounds the work; every remaining frame is present, also in the overlay."""
    import av

    out = tmp_path / "out"
    words = [
        "segment",
        str(frames),
        "the red square",
        "--max-frames",
        "3",
        "--out",
        str(out),
        "--model",
        str(saved_model),
    ]
    assert main([*words, "--device", "cpu", "--max-new-tokens", "4"]) == 0
    check_segmentation(out, 3, (48, 64), ["overlay.mp4", "frames.jsonl"])
    with av.open(str(out / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 3


def test_chat_prints_an_answer_without_masks(saved_model, picture, capsys):
    """In `chat` no `[SEG]` may appear, whatever the model would like."""
    words = ["chat", str(picture), "what colour is it?", "--model", str(saved_model), "--device", "cpu"]
    assert main([*words, "--max-new-tokens", "6"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("\n")
    assert "[SEG]" not in printed


def test_chat_goes_on_with_arguments_or_lines(saved_model, picture, capsys, monkeypatch):
    """Several questions are turns of one conversation, not questions asked for the first time."""
    words = ["chat", str(picture), "--model", str(saved_model), "--device", "cpu", "--max-new-tokens", "6"]
    asked = []
    ask = DeSa2VAConversation.ask

    def listen(talk, text, task, **generation):
        asked.append((len(talk.messages), text, task))
        return ask(talk, text, task, **generation)

    monkeypatch.setattr(DeSa2VAConversation, "ask", listen)
    assert main([*words, "--task", "auto", "find the red circle", "what colour is it?"]) == 0
    assert asked == [(0, "find the red circle", "auto"), (2, "what colour is it?", "auto")]
    assert capsys.readouterr().out.count("\n") >= 2
    monkeypatch.setattr("sys.stdin", io.StringIO("is it red?\n\n is it blue? \n"))
    assert main([*words, "-"]) == 0
    assert asked[2:] == [(0, "is it red?", "chat"), (2, "is it blue?", "chat")]


def test_export_command_writes_a_folder(saved_model, tmp_path, capsys):
    """The command is `hub.export_model` and says what it wrote."""
    assert main(["export", str(tmp_path / "out"), "--model", str(saved_model)]) == 0
    assert "modeling_desa2va.py" in capsys.readouterr().out
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_data_command_writes_the_data(tmp_path, capsys):
    """The options of the command must reach the writer."""
    out = tmp_path / "shapes"
    assert main(["data", "refshapes", "--out", str(out), "--split", "train", "--limit", "2", "--level", "easy"]) == 0
    assert len(json.loads((out / "train.json").read_text())) == 2
    assert "2 train samples" in capsys.readouterr().out


def test_demo_goes_the_whole_way(saved_model, tmp_path, capsys):
    """The bundled inputs, their prompts and the command must fit together."""
    out = tmp_path / "demo"
    words = ["demo", "--out", str(out), "--model", str(saved_model), "--device", "cpu"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert (out / "scene" / "overlay.png").is_file()
    assert (out / "clip" / "overlay.mp4").is_file()
    assert json.loads((out / "chat.json").read_text())["question"] in printed
    assert "no evaluation.json" in printed
    assert main(words) == 2


def test_doctor_finds_a_sound_model_sound(saved_model, capsys):
    """Every check must pass on a healthy installation, or nobody trusts the doctor."""
    assert main(["doctor", "--model", str(saved_model), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "WRONG" not in printed
    for name in ("python", "torchvision", "transformers", "video decoder", "[SEG] token", "one picture"):
        assert name in printed


def test_doctor_names_what_is_wrong_and_the_remedy(saved_model, capsys, monkeypatch):
    """Exit code 1 and a line with the mend: a `[SEG]` id the model does not know, weights that are not numbers."""
    from desa2va.hub import load

    model, processor = load(saved_model, device="cpu")
    model.config.seg_token_ids = [model.config.seg_token_ids[0] + 1]
    next(model.segmenter.text_decoder.parameters()).data.fill_(float("nan"))
    monkeypatch.setattr(doctor, "load_model", lambda args: (model, processor))
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    for name, remedy in (("[SEG] token", "config.seg_token_ids"), ("weights", "diverged")):
        index = next(number for number, line in enumerate(lines) if line.startswith("WRONG") and name in line)
        assert remedy in lines[index + 1]


def test_doctor_reports_a_model_that_cannot_be_loaded(tmp_path, capsys):
    """The doctor itself must not fall over."""
    assert main(["doctor", "--model", str(tmp_path / "nowhere")]) == 1
    assert "WRONG  model" in capsys.readouterr().out


def test_doctor_knows_a_torchvision_of_another_torch(monkeypatch):
    """torchvision built for another torch fails deep inside an import; the doctor compares before."""
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["numpy", "torch==1.2.3"])
    finding = doctor.check_torchvision()
    assert not finding.fine
    assert "torch 1.2.3" in finding.detail


def test_doctor_reads_a_video_the_way_videos_are_read(monkeypatch):
    """It used PyAV by itself and found all well with a release that our reader could open nothing with."""
    monkeypatch.setattr(video_decoding, "_ANY_TITLE", {"no_such_option": True})
    finding = doctor.guarded("video decoder", doctor.check_video)
    assert not finding.fine
    assert "no_such_option" in finding.detail


def test_input_kinds(tmp_path):
    """A folder or a video file is a video, everything else a picture."""
    (tmp_path / "clip.MP4").write_bytes(b"")
    (tmp_path / "photo.jpeg").write_bytes(b"")
    assert common.input_kind(str(tmp_path)) == "video"
    assert common.input_kind(str(tmp_path / "clip.MP4")) == "video"
    assert common.input_kind(str(tmp_path / "photo.jpeg")) == "image"
    assert common.input_kind("https://example.org/a/clip.webm?size=2") == "video"
    assert common.input_kind("https://example.org/photo") == "image"


def test_shown_frames_are_the_first_of_the_video(frames):
    """Backwards passes of the tracker must start at the last frame that counts, not at the last of the video."""
    shown = segment.open_video(str(frames), 3)
    whole = segment.open_video(str(frames))
    assert (len(shown), len(whole)) == (3, 4)
    backwards = list(shown.iterate(2, None, -1))
    for frame, index in zip(backwards, (2, 1, 0), strict=True):
        assert np.array_equal(frame, whole.read([index])[0])
    with pytest.raises(ValueError, match="frame 3"):
        shown.read([3])


def test_parser_builds():
    """Two commands of one name, or an option defined twice, fail when the parser is built."""
    assert build_parser().prog == "desa2va"
