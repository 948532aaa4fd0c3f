import io
import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
import torch
from PIL import Image

from desa2va.processing.inputs.image_loading import image_size, load_image


def save(path, image, **options):
    image.save(path, **options)
    return path


def test_exif_orientation_is_applied(tmp_path, picture):
    """A phone's portrait picture read sideways puts every mask in the wrong place."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "turned.png", Image.fromarray(picture), exif=exif)
    np.testing.assert_array_equal(load_image(path), np.rot90(picture, -1))
    assert image_size(path) == (30, 20)


def test_transparency_lies_over_white():
    """Over black, a transparent logo turns into a black square."""
    rgba = np.zeros((2, 2, 4), dtype=np.uint8)
    rgba[0, 0] = (10, 20, 30, 255)
    rgba[0, 1] = (0, 0, 0, 128)
    expected = [[[10, 20, 30], [127, 127, 127]], [[255, 255, 255], [255, 255, 255]]]
    np.testing.assert_array_equal(load_image(Image.fromarray(rgba)), expected)
    np.testing.assert_array_equal(load_image(rgba), expected)


def test_palette_with_a_transparent_entry(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    path = save(tmp_path / "palette.png", image, transparency=1)
    np.testing.assert_array_equal(load_image(path), [[[255, 0, 0], [255, 255, 255]]])


def test_grey_and_cmyk_become_rgb(tmp_path):
    grey = save(tmp_path / "grey.png", Image.new("L", (3, 2), 77))
    cmyk = save(tmp_path / "cmyk.jpg", Image.new("CMYK", (3, 2), (0, 255, 255, 0)))
    assert (load_image(grey) == 77).all()
    red = load_image(cmyk).mean(axis=(0, 1))
    assert red[0] > 240
    assert red[1:].max() < 15


def test_sixteen_bit_values_are_scaled(tmp_path):
    """PIL's own conversion clips 16 bits to white."""
    values = np.array([[0, 257, 65535]], dtype=np.uint16)
    path = save(tmp_path / "deep.png", Image.fromarray(values))
    assert load_image(path)[0, :, 0].tolist() == [0, 1, 255]
    assert load_image(values)[0, :, 0].tolist() == [0, 1, 255]


def test_one_pixel_wide_picture(tmp_path):
    assert load_image(save(tmp_path / "line.png", Image.new("RGB", (1, 50)))).shape == (50, 1, 3)


def test_arrays_and_tensors_agree(picture):
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    for source in (
        tensor,
        tensor.float() / 255,
        (tensor.double() / 255).numpy().transpose(1, 2, 0),
        Image.fromarray(picture),
    ):
        np.testing.assert_array_equal(load_image(source), picture)


def test_result_does_not_share_memory(picture):
    """Drawing on the loaded picture must not change the caller's array."""
    loaded = load_image(picture)
    loaded[:] = 0
    assert picture.any()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((0, 5, 3), np.uint8), r"pic: the picture is empty, its shape is \(0, 5, 3\)"),
        (np.zeros((5, 7, 2), np.uint8), r"a picture must be .* got shape \(5, 7, 2\)"),
        (torch.zeros(5, 7, 2), r"got shape \(5, 7, 2\)"),
        (np.full((4, 4), 200.0), r"float64 values must lie in \[0, 1\], got \[200, 200\]"),
        (np.full((4, 4), np.nan), "must lie in"),
        (np.full((4, 4), -3), r"must lie in \[0, 255\]"),
        (np.full((4, 4), "x"), "no picture"),
    ],
)
def test_arrays_without_a_meaning_are_errors(source, message):
    with pytest.raises(ValueError, match=message):
        load_image(source, "pic")


def test_truncated_file_is_named(tmp_path, picture):
    path = save(tmp_path / "cut.jpg", Image.fromarray(picture.repeat(8, 0).repeat(8, 1)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"images\[3\] .*cut.jpg.*truncated or broken"):
        load_image(path, "images[3]")


def test_file_that_is_no_picture_is_named(tmp_path):
    path = tmp_path / "note.png"
    path.write_text("hello")
    with pytest.raises(ValueError, match="note.png.*not a picture"):
        load_image(path)


def test_missing_file_and_unknown_kind(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.png"):
        load_image(tmp_path / "absent.png")
    with pytest.raises(TypeError, match="got int"):
        load_image(7)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    """A few bytes that claim 40000 x 40000 pixels would take gigabytes."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b""))
    with pytest.raises(ValueError, match="bomb.png.*decompression bomb"):
        load_image(path)


def test_zero_size_file_is_an_error(tmp_path):
    path = tmp_path / "empty.png"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="empty.png"):
        load_image(path)


def test_an_address_is_a_picture(serve, picture):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    address = serve(stream.getvalue())
    np.testing.assert_array_equal(load_image(address), picture)


def test_a_broken_exif_block_warns_and_is_upright(tmp_path, picture):
    """One struct.error of PIL's parser ended the check of a whole data set, and broke folders of frames."""
    path = save(tmp_path / "a.png", Image.fromarray(picture), exif=b"Exif\0\0no block")
    with pytest.warns(UserWarning, match="a.png.*EXIF"):
        loaded = load_image(path)
    with pytest.warns(UserWarning, match="a.png.*EXIF"):
        size = image_size(path)
    assert loaded.shape[:2] == size == picture.shape[:2]


@pytest.mark.parametrize("number", range(1, 9))
def test_every_orientation_is_that_of_pillow(tmp_path, picture, number):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = number
    path = save(tmp_path / "turned.png", Image.fromarray(picture), exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    np.testing.assert_array_equal(load_image(path), expected)
    assert image_size(path) == expected.shape[:2]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM"])
def test_damaged_files_are_one_kind_of_error(tmp_path, picture, format):
    """PIL's parsers raise struct.error, KeyError, TypeError and more where a byte is wrong."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format=format)
    good, path, rng = stream.getvalue(), tmp_path / "a.png", np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(good)
        for place in rng.integers(0, min(len(data), 200), 4):
            data[place] = rng.integers(256)
        path.write_bytes(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for read in (load_image, image_size):
                with suppress(ValueError):
                    read(path)


@pytest.mark.parametrize("source", [np.array(5), np.zeros(3), np.zeros((1, 2, 3, 4)), torch.tensor(5)])
def test_arrays_of_other_dimensions_are_errors(source):
    """The hint of a message looked for channels that were not there: an IndexError."""
    with pytest.raises(ValueError, match="pic: a picture must be .* got shape"):
        load_image(source, "pic")


def test_a_tensor_with_history_is_a_picture():
    tensor = torch.full((3, 4, 5), 0.5, requires_grad=True)
    assert (load_image(tensor) == 128).all()
