from types import SimpleNamespace

import numpy as np
import pytest
import torch

from desa2va.processing.batch.user_request import open_visuals
from desa2va.processing.inputs import is_live, open_visual


class Decoder:
    """The interface of torchcodec's `VideoDecoder` over frames in memory; frame i has the value i."""

    def __init__(self, num_frames, order="NCHW", fps=5.0):
        shape = (3, 4, 6) if order == "NCHW" else (4, 6, 3)
        values = torch.arange(num_frames, dtype=torch.uint8).reshape(-1, 1, 1, 1)
        self._frames = values.expand(num_frames, *shape)
        self.metadata = SimpleNamespace(num_frames=num_frames, average_fps=fps, height=4, width=6, path=None)
        self.asked = []

    def __len__(self):
        return len(self._frames)

    def __getitem__(self, key):
        return self._frames[key]

    def get_frames_at(self, indices):
        self.asked.append(list(indices))
        assert self.asked[-1] == sorted(set(indices))
        seconds = torch.tensor(indices) / 5
        return SimpleNamespace(
            data=self._frames[list(indices)], pts_seconds=seconds, duration_seconds=seconds * 0 + 0.2
        )


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
def test_frames_are_read_when_asked_for(order):
    decoder = Decoder(20, order)
    source = open_visual(decoder, "clip")
    assert (source.height, source.width, len(source), source.fps, source.name) == (4, 6, 20, 5.0, "clip")
    assert source.timestamps[:3] == [0.0, 0.2, 0.4]
    assert [int(frame.max()) for frame in source.read([7, 3, 7])] == [7, 3, 7]
    assert [int(frame[0, 0, 0]) for frame in source.iterate(19, None, -1)] == list(range(19, -1, -1))
    assert [int(frame[0, 0, 0]) for frame in source.iterate(18)] == [18, 19]
    assert max(map(len, decoder.asked)) <= 8
    assert all(frame.shape == (4, 6, 3) and frame.dtype == np.uint8 for frame in source.read([0]))
    with pytest.raises(ValueError, match="frame 20 is asked for"):
        source.read([20])


def test_decoders_are_videos_wherever_videos_are_taken():
    assert [len(source) for _, source in open_visuals(None, Decoder(3), [])] == [3]
    assert [len(source) for _, source in open_visuals(None, [Decoder(3), Decoder(2)], [])] == [3, 2]
    assert not is_live(Decoder(3))


def test_without_rate_or_frames():
    assert open_visual(Decoder(2, fps=None)).timestamps == [0.0, 1.0]
    with pytest.raises(ValueError, match="clip: a video needs at least one frame, the decoder holds none"):
        open_visual(Decoder(0), "clip")


def test_it_streams(model, processor):
    """A decoder has a length and no iterator; bytes and dictionaries can be iterated and are no cameras."""
    clip = [np.full((48, 64, 3), value, np.uint8) for value in (0, 90, 200)]
    decoder = Decoder(3)
    decoder._frames = torch.from_numpy(np.stack(clip))
    ours = list(model.stream(decoder, "the ring", processor=processor, max_new_tokens=3))
    theirs = list(model.stream(clip, "the ring", processor=processor, max_new_tokens=3))
    assert [entry.frame for entry in ours] == [entry.frame for entry in theirs]
    assert [[found.area for found in entry.objects] for entry in ours] == [
        [found.area for found in entry.objects] for entry in theirs
    ]
    assert is_live(iter(clip))
    assert not any(map(is_live, ("a.mp4", b"a", {"path": "a"}, clip, clip[0])))
