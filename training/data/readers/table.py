"""The published sets by the names that the command line and configurations use."""

from __future__ import annotations

from . import davis, mevis, ref_sav, ref_youtube_vos, revos, video_chat
from .grandf import GRANDF_READERS
from .llava import LLAVA_READERS
from .mmbench_video import MMBENCH_VIDEO_READERS
from .osprey import OSPREY_READERS
from .question_tables import QUESTION_READERS
from .reasonseg import REASONSEG_READERS
from .refcoco import REFCOCO_READERS
from .seed_bench import SEED_BENCH_READERS
from .status import Reader
from .video_mme import VIDEO_MME_READERS

READERS: dict[str, Reader] = {
    **REFCOCO_READERS,
    **REASONSEG_READERS,
    **GRANDF_READERS,
    **LLAVA_READERS,
    **OSPREY_READERS,
    **QUESTION_READERS,
    **SEED_BENCH_READERS,
    **VIDEO_MME_READERS,
    **MMBENCH_VIDEO_READERS,
    "mevis": Reader(mevis.read_mevis, mevis.mevis_status, mevis.SPLITS),
    "ref_davis17": Reader(davis.read_davis, davis.davis_status, davis.SPLITS),
    "ref_sav": Reader(ref_sav.read_ref_sav, ref_sav.ref_sav_status, ref_sav.SPLITS),
    "ref_youtube_vos": Reader(
        ref_youtube_vos.read_ref_youtube_vos, ref_youtube_vos.ref_youtube_vos_status, ref_youtube_vos.SPLITS
    ),
    "revos": Reader(revos.read_revos, revos.revos_status, revos.SPLITS),
    "video_chat": Reader(video_chat.read_video_chat, video_chat.video_chat_status, video_chat.SPLITS),
}

__all__ = ["READERS"]
