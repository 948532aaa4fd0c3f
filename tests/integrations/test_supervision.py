"""The lines about supervision in docs/results.md, with the real package."""

import numpy as np
import pytest

from tests.desa2va.test_docs import ROOT


def test_the_page_s_lines_draw_the_masks(shipped, scenes):
    """Two lines that do not run are worse than a page of them."""
    pytest.importorskip("supervision", reason="supervision is not installed")
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    code = page.split("## With supervision")[1].split("```python\n")[1].split("```")[0]
    model, processor = shipped
    picture = np.asarray(scenes[0].frames[0])
    inputs = processor(images=picture, text="the red object", task="segment")
    result = processor.post_process(model.generate(**inputs, max_new_tokens=128), inputs)[0]
    given = {"result": result, "picture": picture}
    exec(compile(code, "docs/results.md", "exec"), given)
    union = np.any([found.mask() for found in result.objects], axis=0)
    assert np.array_equal((given["drawn"] != picture).any(axis=-1) | ~union, np.ones_like(union))
    assert list(given["detections"].tracker_id) == [found.object_id for found in result.objects]
