import numpy as np
import pytest

from desa2va.processing.files.mask_codec import encode_mask
from desa2va.processing.results.exchange.label_studio import brush_rle


def unpack(data):
    """Values of packed bytes, by the description of the format alone."""
    bits = "".join(f"{byte:08b}" for byte in data)
    place = 0

    def take(count):
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, width = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        repeated, count = take(1), take(sizes[take(2)]) + 1
        values += [take(width)] * count if repeated else [take(width) for _ in range(count)]
    return np.array(values)


def test_bytes_read_back_are_the_mask(mask):
    values = unpack(brush_rle(encode_mask(mask))).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(values, np.where(mask, 255, 0)[..., None].repeat(4, axis=2))


def test_long_runs_and_empty_masks():
    """A run longer than a count of 16 bits can say is several."""
    mask = np.zeros((300, 400), bool)
    np.testing.assert_array_equal(unpack(brush_rle(encode_mask(mask))).any(), False)
    mask[150:] = True
    values = unpack(brush_rle(encode_mask(mask))).reshape(300, 400, 4)
    np.testing.assert_array_equal(values[..., 3] == 255, mask)


def test_label_studios_own_decoder_reads_the_same(mask):
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="label-studio-sdk is not installed")
    values = brush.decode_rle(brush_rle(encode_mask(mask))).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(values[..., 3] == 255, mask)


def test_a_task_for_every_frame(clip):
    """Label Studio has no brush for videos: each frame is a task, also one on which nothing is seen."""
    tasks = clip.to_label_studio()
    assert [task["data"]["image"] for task in tasks] == ["00000.png", "00001.png", "00002.png"]
    regions = [task["predictions"][0]["result"] for task in tasks]
    assert [len(found) for found in regions] == [2, 0, 1]
    first = regions[0][0]
    assert (first["original_width"], first["original_height"]) == (15, 10)
    assert first["value"]["brushlabels"] == ["red circle"]
    alpha = unpack(first["value"]["rle"]).reshape(10, 15, 4)[..., 3] == 255
    np.testing.assert_array_equal(alpha, clip.objects[0].mask(0))
    assert clip.to_label_studio([f"s3://{t}" for t in range(3)])[2]["data"]["image"] == "s3://2"
    with pytest.raises(ValueError, match="2 images for 3 frames"):
        clip.to_label_studio(["a", "b"])
