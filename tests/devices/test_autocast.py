"""A caller's autocast around everything: what must be exact stays exact, and nothing meets a dtype it cannot take."""

import pytest
import torch

from benchmarks.scenarios import (
    SCENARIOS,
    Outcome,
    assert_same,
    camera,
    clicks_on_a_video,
    overlap,
    pictures,
    refined,
    request,
    session,
    video_consistent,
    video_memory,
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_autocast_around_it_changes_little(scenario, shipped, expected):
    """Half-precision masks were joined inside it, which torch refuses: "Unexpected floating ScalarType"."""
    wanted = expected(scenario)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = scenario(*shipped)
    if wanted.masks:
        assert found.texts == wanted.texts
        assert overlap(found, wanted) > 0.9  # of masks in doubt, such as of a ring where there is none


@pytest.mark.parametrize("scenario", [video_consistent, video_memory, camera, clicks_on_a_video, session, refined])
def test_the_other_half_precision(scenario, shipped, expected):
    """Memories that are kept in bfloat16 may not be joined inside float16 autocast either."""
    wanted = expected(scenario)
    with torch.autocast("cpu", dtype=torch.float16):
        found = scenario(*shipped)
    assert overlap(found, wanted) > 0.9  # of masks in doubt, such as of a ring where there is none


def test_results_are_made_in_float32(shipped):
    """Nothing of a network runs there, so not a pixel may change."""
    model, processor = shipped
    images, texts = zip(*((sample.frames[0], request(sample)) for sample in pictures()), strict=True)
    inputs = processor(images=list(images), text=list(texts), task="segment")
    output = model.generate(**inputs, max_new_tokens=24, return_branches=True)
    wanted = Outcome().add_results(processor.post_process(output, inputs, max_hole_area=20, max_speckle_area=20))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = Outcome().add_results(processor.post_process(output, inputs, max_hole_area=20, max_speckle_area=20))
    assert_same(found, wanted, pixels=0, scores=0)
