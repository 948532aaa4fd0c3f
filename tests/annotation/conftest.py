"""What tests of the annotation share."""

import av
import numpy as np
import pytest


@pytest.fixture(scope="session")
def sav_video(tmp_path_factory):
    """A video of the size and length that SA-V's example annotation belongs to, in a codec that is fast."""
    path = tmp_path_factory.mktemp("sav") / "sav_000001.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height = 480, 848
        for grey in range(483):
            pixels = np.full((848, 480, 3), grey % 200, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path.parent
