"""Tiny processors and samples for the tests of the processing room."""

import socket
import threading

import av
import numpy as np
import pytest
from transformers import GotOcr2ImageProcessor, Qwen2VLImageProcessor, Sam2ImageProcessor

from desa2va.processing.processing_desa2va import DeSa2VAProcessor
from desa2va.processing.tiny_tokenizer import build_tiny_tokenizer
from desa2va.training.data.sample import Conversation, Sample

CORPUS = ["Please segment the red circle.", "What is it?", "It is", "Describe the image with masks."]
SIDE = 32


@pytest.fixture
def tokenizer():
    return build_tiny_tokenizer(CORPUS)


@pytest.fixture
def make_processor():
    """Builds an InternVL processor on 32-pixel pictures with four tokens per tile."""

    def make(**fields):
        side = {"height": SIDE, "width": SIDE}
        tokenizer = build_tiny_tokenizer(CORPUS)
        tokenizer.add_special_tokens({"additional_special_tokens": fields.pop("extra_tokens", [])})
        return DeSa2VAProcessor(
            GotOcr2ImageProcessor(size=side),
            tokenizer,
            Sam2ImageProcessor(size=side),
            **{"image_seq_length": 4, "max_tiles": 1, **fields},
        )

    return make


@pytest.fixture
def tiny(make_processor):
    return make_processor()


@pytest.fixture
def qwen():
    tokenizer = build_tiny_tokenizer(CORPUS)
    tokens = ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    image_processor = Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 84})
    sam = Sam2ImageProcessor(size={"height": SIDE, "width": SIDE})
    return DeSa2VAProcessor(image_processor, tokenizer, sam, mllm_type="qwen2_5_vl")


@pytest.fixture
def picture():
    """Random uint8 picture of height 20 and width 30."""
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def make_sample():
    """Builds a sample with one conversation for each given answer, a mask for each [SEG]."""

    def make(answers=("It is [SEG].",), frames=1, size=(20, 30), seed=0, regions=None, name="toy/0"):
        generator = np.random.default_rng(seed)
        conversations = []
        for number, answer in enumerate(answers):
            count = answer.count("[SEG]")
            masks = generator.random((count, frames, *size)) > 0.5
            marked = regions if number == 0 else None
            conversations.append(
                Conversation((("Please segment it.", answer),), masks, ("circle",) * count, regions=marked)
            )
        pixels = generator.integers(0, 256, (frames, *size, 3), dtype=np.uint8)
        return Sample(pixels, tuple(conversations), frames > 1, name)

    return make


@pytest.fixture
def write_video():
    """Writes a video of grey frames (value 10 * index, at most 250) and returns (position, size) of its packets."""

    def write(path, num_frames=12, codec="mjpeg", size=(32, 48), gop=4):
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.height, stream.width = size
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.gop_size = gop
            for index in range(num_frames):
                frame = np.full((*size, 3), min(250, 10 * index), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        with av.open(str(path)) as container:
            return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]

    return write


@pytest.fixture
def grey():
    """Function: mean of each frame in steps of ten, the index `write_video` gave it."""
    return lambda frames: [int(np.rint(frame.mean() / 10)) for frame in frames]


@pytest.fixture
def serve():
    """Starts a server on this machine and returns the address of a picture on it.

    It answers every connection with bytes (a whole file), or with what a function sends through the one it is given.
    """
    listeners = []

    def start(answer):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65536)
                        if callable(answer):
                            answer(connection.sendall)
                        else:
                            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
                    except OSError:
                        continue

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/a.png"

    yield start
    for listener in listeners:
        listener.close()
