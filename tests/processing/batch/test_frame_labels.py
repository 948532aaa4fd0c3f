"""What stands in front of the frames of a video: true times for Qwen-VL, numbers for InternVL, as the user says."""

import numpy as np
import pytest

from desa2va.processing.batch.frame_labels import frame_texts
from desa2va.processing.inputs import MemorySource, open_visual
from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.training.data.sample import Conversation, Sample

TEXT = "What is it?"


def words(processor, batch, row=0):
    """The prompt with one image token for each run."""
    context = processor.assembler.context_id
    ids = [index for index in batch["input_ids"][row].tolist() if index != context]
    return processor.tokenizer.decode(ids).replace("</img>", "|").replace("<|vision_end|>", "|")


def clip(count, fps=None):
    frames = np.random.default_rng(0).integers(0, 256, (count, 20, 30, 3), dtype=np.uint8)
    return MemorySource(list(frames), fps=fps)


def labelled(processor, kind):
    """The same processor with other labels."""
    parts = processor.image_processor, processor.tokenizer, processor.sam_image_processor
    fields = {name: getattr(processor, name) for name in ("mllm_type", "image_seq_length", "max_tiles")}
    return DeSa2VAProcessor(*parts, **fields, frame_labels=kind)


def test_texts():
    """As transformers' Qwen3-VL processor writes them: seconds with one digit; a single frame reads like a picture."""
    assert frame_texts("time", [0.0, 0.25, 12.96]) == ["<0.0 seconds>", "<0.2 seconds>", "<13.0 seconds>"]
    assert frame_texts("number", [0.0, 0.25]) == ["Frame1: ", "Frame2: "]
    assert frame_texts("none", [0.0, 0.25]) == ["", ""]
    assert [frame_texts(labels, [3.0]) for labels in ("time", "number", "none")] == [[""]] * 3


def test_qwen_is_told_the_true_time_of_each_frame(qwen, tmp_path, write_video):
    """Frames without time: "after two seconds" had no meaning, and a choice of still frames left no trace."""
    write_video(tmp_path / "a.mkv", num_frames=12)  # ten frames a second
    for chosen, times in ([[0, 5, 11], "0.0 0.5 1.1"], [[1, 2], "0.1 0.2"]):
        batch = qwen(videos=str(tmp_path / "a.mkv"), text=TEXT, key_frames=chosen)
        expected = "".join(f"<{time} seconds><|vision_start|>|" for time in times.split())
        assert f"{expected}{TEXT}" in words(qwen, batch)


def test_a_variable_frame_rate_counts_by_its_time_stamps(qwen):
    source = clip(3, fps=10.0)
    source.timestamps = [0.0, 0.4, 3.0]
    assert "<0.4 seconds>" in words(qwen, qwen(videos=[source], text=TEXT))
    assert "<3.0 seconds>" in words(qwen, qwen(videos=[source], text=TEXT))


def test_unknown_rates_count_as_24_frames_a_second(qwen):
    """As in transformers; a rate that is known to the user is stated with the frames."""
    array = np.stack(clip(49).read(range(49)))
    batch = qwen(videos=array, text=TEXT, key_frames=[0, 12, 48])
    assert [f"<{time} seconds>" in words(qwen, batch) for time in ("0.0", "0.5", "2.0")] == [True] * 3
    batch = qwen(videos=[open_visual(array, fps=6.0)], text=TEXT, key_frames=[0, 12, 48])
    assert [f"<{time} seconds>" in words(qwen, batch) for time in ("0.0", "2.0", "8.0")] == [True] * 3


def test_the_same_frames_at_another_rate_are_another_input(qwen, tiny):
    """The rate is an option of the clip: where the model is told times, it must matter."""
    for processor, differs in ((qwen, True), (tiny, False), (labelled(tiny, "time"), True)):
        slow, fast = (processor(videos=[clip(4, fps)], text=TEXT)["input_ids"].tolist() for fps in (1.0, 8.0))
        assert (slow != fast) == differs


def test_internvl_is_told_numbers_unless_times_are_asked_for(tiny):
    source = clip(3, fps=2.0)
    for processor, labels in (
        (tiny, ["Frame1: ", "Frame2: ", "Frame3: "]),
        (labelled(tiny, "time"), ["<0.0 seconds>", "<0.5 seconds>", "<1.0 seconds>"]),
        (labelled(tiny, "none"), ["", "", ""]),
    ):
        expected = "".join(f"{label}<img>|\n" for label in labels)
        assert words(processor, processor(videos=[source], text=TEXT)).startswith(
            f"<|im_start|>user\n{expected}{TEXT}"
        )


@pytest.mark.parametrize("kind", ["number", "time", "none"])
@pytest.mark.parametrize("family", ["tiny", "qwen"])
def test_training_shows_the_labels_of_inference(family, kind, request):
    """A label in one of the two only is a form that no model was trained on."""
    processor = labelled(request.getfixturevalue(family), kind)
    source = clip(9, fps=2.0)
    shown = [0, 4, 7]
    asked = processor(videos=[source], text=TEXT, key_frames=shown)["input_ids"][0].tolist()
    chat = Conversation(((TEXT, "It is."),), np.zeros((0, 3, 20, 30), bool))
    sample = Sample(np.stack(source.read(shown)), (chat,), True, "toy", seconds=(0.0, 2.0, 3.5))
    learnt = processor.collate([sample])["input_ids"][0].tolist()
    assert learnt[: len(asked)] == asked


def test_labels_are_saved_and_older_folders_keep_the_default(tiny, qwen, tmp_path):
    for number, (processor, kind) in enumerate([(tiny, "number"), (qwen, "time"), (labelled(tiny, "time"), "time")]):
        processor.save_pretrained(tmp_path / str(number))
        assert DeSa2VAProcessor.from_pretrained(tmp_path / str(number)).frame_labels == kind


def test_sa2va_prompts_have_no_labels(make_processor):
    """They are read exactly as the published models were trained."""
    processor = make_processor(prompt_rule="sa2va")
    assert processor.frame_labels == "none"
    assert "Frame" not in words(processor, processor(videos=[clip(3)], text=TEXT))
    with pytest.raises(ValueError, match="prompts by Sa2VA's rule have none"):
        make_processor(prompt_rule="sa2va", frame_labels="time")
    with pytest.raises(ValueError, match="frame_labels='date' is unknown"):
        make_processor(frame_labels="date")


def test_seconds_of_a_sample_are_as_many_as_its_frames():
    with pytest.raises(ValueError, match="sample 'toy': 2 seconds for 3 frames"):
        Sample(np.zeros((3, 4, 4, 3), np.uint8), (), True, "toy", seconds=(0.0, 1.0))
