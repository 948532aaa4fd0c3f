"""Several threads, one model: every call must give what it gives alone."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import torch
from transformers.generation import BaseStreamer

from desa2va.modeling_desa2va.session import DeSa2VASession

TEXTS = ["the red circle", "find the blue square", "star", "the small green ring and the red star"]


class Meeting(BaseStreamer):
    """Lets the steps of several calls alternate: each waits for all others before its next one."""

    def __init__(self, barrier):
        self.barrier = barrier

    def put(self, value):
        with suppress(threading.BrokenBarrierError):  # another call is done; the rest need not meet
            self.barrier.wait(timeout=30)

    def end(self):
        self.barrier.abort()


@pytest.fixture(scope="module", params=["internvl", "qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def served(request, model, processor, make_qwen):
    """`(model, processor)` of each family of backbones."""
    return (model, processor) if request.param == "internvl" else make_qwen(request.param)


@pytest.fixture
def eager_switches():
    """Threads take turns as often as Python can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def pixels(*shape, seed):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def inputs_of(processor, number):
    """Pictures of different sizes, so that every call has its own number of image tokens and of sequences."""
    texts = TEXTS[: 1 + number % 2]
    return processor(images=pixels(30 + 30 * (number // 2), 60, seed=number), text=texts, task="segment")


def same(left, right):
    assert torch.equal(left.sequences, right.sequences)
    assert torch.equal(left.seg_probability, right.seg_probability)
    assert all(map(torch.equal, left.track_logits, right.track_logits))


def test_calls_that_alternate_see_their_own_states_and_pictures(served):
    """One hook on the shared output head collected the states of all calls, one on the shared tower replaced the
    pictures of all: wrong masks with status ok.
    """
    model, processor = served
    batches = [inputs_of(processor, number) for number in range(4)]
    alone = [model.generate(**batch, max_new_tokens=4) for batch in batches]
    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda b: model.generate(**b, max_new_tokens=4, streamer=Meeting(barrier)), batches)
        for left, right in zip(alone, together, strict=True):
            same(left, right)


def test_a_pool_of_all_kinds_of_calls(served, eager_switches):
    """Teacher-forced passes, pictures, streams and sessions beside each other."""
    model, processor = served

    def forward(number):
        with torch.no_grad():
            return [model(**inputs_of(processor, number)).logits]

    def generate(number):
        return model.generate(**inputs_of(processor, number), max_new_tokens=3).track_logits

    def stream(number):
        video = pixels(3, 30, 60, seed=number)
        with model.stream(video, TEXTS[number], processor, num_key_frames=2, max_new_tokens=2) as frames:
            return [torch.from_numpy(frame.objects[0].mask) for frame in frames]

    def session(number):
        with DeSa2VASession(model, processor, pixels(3, 30, 60, seed=number)) as steps:
            steps.add(points=[(20, 10)])
            steps.add(text=TEXTS[number])
            return [torch.from_numpy(entry.mask) for frame in steps.propagate() for entry in frame.objects]

    jobs = [(kind, number) for number in range(2) for kind in (forward, generate, stream, session)]
    alone = [kind(number) for kind, number in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda job: job[0](job[1]), jobs)
        for left, right in zip(alone, together, strict=True):
            assert len(left) == len(right)
            assert all(map(torch.equal, left, right))


def test_a_call_inside_a_call_leaves_its_states_alone(model, processor):
    """A streamer that asks the model something else, as a server may: the inner call must not be heard outside."""
    batch, other = inputs_of(processor, 0), inputs_of(processor, 1)
    alone = model.generate(**batch, max_new_tokens=4)

    class Curious(BaseStreamer):
        def put(self, value):
            model(**other)
            model.generate(**other, max_new_tokens=2)

        def end(self):
            pass

    same(alone, model.generate(**batch, max_new_tokens=4, streamer=Curious()))
