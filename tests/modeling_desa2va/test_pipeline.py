"""transformers' pipeline over the tiny model: one and many inputs, rows, columns, batches, devices."""

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from PIL import Image as PillowImage
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

import desa2va.auto  # noqa: F401  (registers the task)
from desa2va.modeling_desa2va.pipeline import TASK, ReferringSegmentationPipeline
from desa2va.processing.files import VideoWriter


def pictures(count, size=(40, 64)):
    rng = np.random.default_rng(count)
    return [PillowImage.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)) for _ in range(count)]


@pytest.fixture(scope="module")
def pipe(model, processor):
    found = pipeline(TASK, model=model, processor=processor, device="cpu", max_new_tokens=2)
    assert type(found) is ReferringSegmentationPipeline
    return found


def masks_of(results):
    return [[entry.codes for entry in result.objects] for result in results]


def by_hand(model, processor, images, text):
    inputs = processor(images=images, text=text, task="segment")
    return processor.post_process(model.generate(**inputs, max_new_tokens=2), inputs)


def test_one_picture_is_what_the_model_answers(pipe, model, processor, tmp_path):
    """Also from a path, an array and bytes; several requests about one input give a list."""
    (image,) = pictures(1)
    expected = by_hand(model, processor, image, "the red circle")[0]
    path = tmp_path / "picture.png"
    image.save(path)
    for given in (image, np.asarray(image), str(path), path, path.read_bytes(), {"image": image, "id": 7}):
        result = pipe(given, "the red circle")
        assert masks_of([result]) == masks_of([expected])
        assert result.text == expected.text
    assert pipe({"image": image, "text": "the red circle"}).to_dict()["objects"] == expected.to_dict()["objects"]
    assert masks_of(pipe(image, text=["the ring", "the star"])) == masks_of(
        by_hand(model, processor, image, ["the ring", "the star"])
    )


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_lists_generators_data_sets_and_columns(pipe, batch_size):
    """The same answers in the same order, whatever holds the inputs; only a list is read at once."""
    images, texts = pictures(5), ["the ring", "the star", "the circle", "the square", "the red circle"]
    singly = masks_of([pipe(image, text) for image, text in zip(images, texts, strict=True)])
    rows = [{"image": image, "text": text} for image, text in zip(images, texts, strict=True)]
    table = Dataset.from_list(rows, features=Features({"image": Image(), "text": Value("string")}))
    for given in (rows, (row for row in rows), table, table.to_iterable_dataset()):
        results = pipe(given, batch_size=batch_size)
        assert isinstance(results, list) == isinstance(given, list)
        assert masks_of(results) == singly
    assert masks_of(pipe(images, texts, batch_size=batch_size)) == singly
    same = masks_of([pipe(image, "the ring") for image in images])
    for column in (table["image"], KeyDataset(table, "image"), iter(images)):
        assert masks_of(pipe(column, text="the ring", batch_size=batch_size)) == same
    with pytest.raises(ValueError, match="5 inputs but 2 texts"):
        pipe(images, ["the ring", "the star"])


def test_generators_are_read_as_results_are_asked_for(pipe):
    """A data set that does not fit in memory, or a stream that never ends, must not be read at once."""
    read = []

    def rows():
        for number, image in enumerate(pictures(9)):
            read.append(number)
            yield {"image": image, "text": "the ring"}

    results = iter(pipe(rows(), batch_size=2))
    next(results)
    assert len(read) <= 4


def test_batches_of_pictures_videos_and_several_requests(pipe, tmp_path):
    """Neighbours of one kind are answered together; every input has its own entry, every frame its mask."""
    image, other = pictures(2)
    frames = [np.asarray(one) for one in pictures(3)]
    with VideoWriter(tmp_path / "clip.mp4", 5) as writer:
        for frame in frames:
            writer.write(frame)
    rows = [
        {"image": image, "text": "the ring"},
        {"image": other, "text": ["the ring", "the star"]},
        {"video": frames, "text": "the ring"},
        {"video": str(tmp_path / "clip.mp4"), "text": "the ring"},
        {"image": image, "text": "the ring"},
    ]
    first, several, listed, filed, last = pipe(rows, batch_size=5, num_key_frames=2)
    assert masks_of([first]) == masks_of([last])
    assert len(several) == 2
    assert (listed.num_frames, filed.num_frames, filed.fps) == (3, 3, 5)
    assert pipe(np.stack(frames), "the ring").num_frames == pipe(tmp_path / "clip.mp4", "the ring").num_frames == 3


class Decoder:
    """The interface of torchcodec's decoder."""

    def __init__(self, frames):
        self._frames = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
        self.metadata = type("Metadata", (), {"average_fps": 4.0})

    def __len__(self):
        return len(self._frames)

    def get_frames_at(self, indices):
        return type("Frames", (), {"data": self._frames[indices]})


def test_cells_that_hold_decoders(pipe):
    """What a `Video` column of `datasets` holds is an object with a length: one video, not a list of inputs."""
    decoders = [Decoder([np.asarray(one) for one in pictures(count)]) for count in (2, 3)]
    assert [result.num_frames for result in pipe(iter(decoders), text="the ring")] == [2, 3]
    assert pipe(decoders[0], "the ring").num_frames == 2
    assert [result.num_frames for result in pipe([{"video": one, "text": "the ring"} for one in decoders])] == [2, 3]


def test_a_video_column_of_torchcodec(pipe, tmp_path):
    pytest.importorskip("torchcodec", reason="torchcodec is not installed")
    from datasets import Video

    with VideoWriter(tmp_path / "clip.mp4", 5) as writer:
        for image in pictures(3):
            writer.write(np.asarray(image))
    table = Dataset.from_dict({"video": [str(tmp_path / "clip.mp4")] * 2}).cast_column("video", Video())
    for given in (table, table["video"]):
        assert [result.num_frames for result in pipe(given, text="the ring", batch_size=2)] == [3, 3]


def test_options_reach_processor_generation_and_masks(pipe):
    (image,) = pictures(1)
    assert pipe(image, "the ring", task="chat").objects == []
    explained = pipe(image, "the ring", return_branches=True, keep_logits=True, mask_threshold=-3.0)
    assert explained.options.mask_threshold == -3.0
    assert explained.objects[0].logits is not None
    assert len(explained.explain().objects) == 1
    with pytest.raises(ValueError, match="max_new_token"):
        pipe(image, "the ring", max_new_token=3)


def test_tasks_with_words_of_their_own_and_marked_objects(pipe, model, processor):
    """`pipe(image, task="gcg")` was refused for want of words, and a box could not be given at all."""
    images, box = pictures(3), [4, 4, 20, 30]
    generation = {"max_new_tokens": 2}

    def expected(**call):
        inputs = processor(**call)
        return processor.post_process(model.generate(**inputs, **generation), inputs)

    for task in ("gcg", "caption"):
        texts = [result.text for result in pipe(images, task=task, batch_size=2)]
        assert texts == [result.text for result in expected(images=images, task=task)]
    assert masks_of([pipe(images[0], boxes=box)]) == masks_of(expected(images=images[0], boxes=box))
    for batch_size in (1, 3):
        marked = pipe(images, "all like this one", boxes=box, batch_size=batch_size)
        single = [expected(images=image, text="all like this one", boxes=box, task="segment")[0] for image in images]
        assert masks_of(marked) == masks_of(single)
    regions = pipe(images[0], task="region", boxes=[box, [30, 5, 50, 30]])
    assert [result.text for result in regions] == [
        result.text for result in expected(images=images[0], task="region", boxes=[box, [30, 5, 50, 30]])
    ]
    rows = [{"image": images[0], "text": "the ring", "boxes": box}]  # a column of the truth is no prompt
    assert masks_of(pipe(rows)) == masks_of(pipe([{"image": images[0], "text": "the ring"}]))


def test_a_forced_object_is_told(make_model, processor):
    """A pipeline hands over results as they are: what was forced says so."""
    model = make_model(7)
    end = processor.tokenizer.eos_token_id
    model.mllm.lm_head.register_forward_hook(lambda m, args, out: out.index_fill(-1, torch.tensor([end]), 1e4))
    result = pipeline(TASK, model=model, processor=processor, max_new_tokens=2)(pictures(1)[0], "the ring")
    assert result.forced
    assert "forced its [SEG]" in result.reason
    assert pipeline(TASK, model=model, processor=processor)(pictures(1)[0], "the ring", task="auto").objects == []


@pytest.mark.parametrize(
    ("inputs", "text", "kind", "message"),
    [
        (pictures(1)[0], None, ValueError, "nothing is asked about"),
        (pictures(1), None, ValueError, "nothing is asked about"),
        ({"image": 1, "video": 2, "text": "a"}, None, ValueError, "an image and a video"),
        ({"picture": 1}, "the ring", TypeError, "a row with 'image' or 'video'"),
        (7, "the ring", TypeError, "expected a picture, a video, a row, or many"),
    ],
)
def test_what_can_not_be_meant_is_named(pipe, inputs, text, kind, message):
    with pytest.raises(kind, match=message):
        pipe(inputs, text)


def test_frames_are_chosen_of_videos_alone(pipe):
    """Of pictures alone the choice was ignored without a word; of many inputs it is for the videos among them."""
    image, other = pictures(2)
    with pytest.raises(ValueError, match="key_frames= choose frames of a video, but only pictures are given"):
        pipe(image, "the ring", key_frames="first")
    with pytest.warns(UserWarning, match="num_key_frames= changed nothing: no video came"):
        assert len(pipe([image, other], text="the ring", num_key_frames=2)) == 2


def test_a_model_brings_its_own_processor_or_is_refused(make_model, processor):
    model = make_model()
    with pytest.raises(ValueError, match="needs the model's processor"):
        pipeline(TASK, model=model)
    model.processor = processor
    assert pipeline(TASK, model=model).processor is processor
    assert pipeline(TASK, model=model)([], text="the ring") == []


def test_half_precision(make_model, processor):
    pipe = pipeline(TASK, model=make_model().to(torch.bfloat16), processor=processor, max_new_tokens=2)
    result = pipe(pictures(1)[0], "the ring")
    assert result.to_numpy().shape == (len(result.objects), 40, 64)
