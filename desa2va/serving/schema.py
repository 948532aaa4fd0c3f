"""What requests and answers look like. From these classes the published JSON schema is made (`/openapi.json`).

Answers are those of `SegmentationResult.to_dict` and `FrameResult.to_dict`, so that a client that has this package
reads them back with `from_dict`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=4000)]
Points = Annotated[list[Annotated[list[Number], Field(min_length=2, max_length=3)]], Field(min_length=1)]
Box = Annotated[list[Number], Field(min_length=4, max_length=4)]
_CONTENT = "content as base64 or as a data: address; `file:NAME` or an http(s) address where the service allows it"
Content = Annotated[str, Field(min_length=1, description=_CONTENT)]


class Strict(BaseModel):
    """A request: what it does not know is refused, since it would have been meant."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Rle(Strict):
    """A mask as COCO writes it: `size` is height and width, `counts` the compressed run lengths."""

    size: Annotated[list[int], Field(min_length=2, max_length=2)]
    counts: str


class Ask(Strict):
    """What pictures and videos have in common."""

    text: Text | Annotated[list[Text], Field(min_length=1)] | None = None
    task: Literal["auto", "segment", "chat", "caption", "gcg", "region"] = "segment"
    max_new_tokens: Annotated[int, Field(ge=1)] = 128

    @property
    def texts(self) -> list[str] | None:
        """The texts as a list."""
        return [self.text] if isinstance(self.text, str) else self.text


class PictureRequest(Ask):
    """One picture, and what is asked about it. With `points` or `boxes` alone SAM-2 answers, without language."""

    image: Content
    points: Points | None = None
    boxes: Annotated[list[Box], Field(min_length=1)] | None = None


class VideoRequest(Ask):
    """One video, and what is asked about it; every frame gets its masks."""

    video: Content
    key_frames: Literal["first", "uniform", "auto", "all"] | Annotated[list[int], Field(min_length=1)] | None = None


class OpenSession(Strict):
    """Opens a video for work in steps."""

    video: Content


class Add(Strict):
    """New objects: by `text`, by `mask`, or by `points` and/or `box` on `frame`."""

    text: Text | None = None
    points: Points | None = None
    box: Box | None = None
    mask: Rle | None = None
    frame: Annotated[int, Field(ge=0)] = 0
    name: Text | None = None
    key_frames: Literal["first", "uniform", "auto", "all"] | Annotated[list[int], Field(min_length=1)] | None = None


class Correct(Strict):
    """Corrects one object on one frame: by `text`, by `mask`, or by `points` and/or `box`."""

    object_id: int
    frame: Annotated[int, Field(ge=0)]
    text: Text | None = None
    points: Points | None = None
    box: Box | None = None
    mask: Rle | None = None


class Remove(Strict):
    """Takes an object out."""

    object_id: int


class Propagate(Strict):
    """What is to be tracked; whatever waits where nothing is said."""

    objects: Annotated[list[int], Field(min_length=1)] | None = None
    start: Annotated[int, Field(ge=0)] | None = None
    direction: Literal["forward", "backward", "both"] | None = None


class Timings(BaseModel):
    """Seconds in the line and in the model; how many questions shared the pass; encodings made and found."""

    queued: float
    computed: float
    batch: int
    encoded: int
    reused: int


class ObjectOut(BaseModel):
    """One object: lists have one entry per frame. Boxes are x0, y0, x1, y1 in pixels, `null` without a mask."""

    object_id: int
    status: Literal["ok", "no_target", "empty_mask"]
    reason: str
    phrase: str | None
    span: tuple[int, int] | None
    seg_probability: float
    codes: list[Rle]
    boxes: list[tuple[int, int, int, int] | None]
    iou_scores: list[float]
    object_scores: list[float]
    forced: bool
    agreement: float | None


class ResultOut(BaseModel):
    """The answer to one text; see `SegmentationResult`."""

    request: str
    text: str
    raw_text: str
    status: str
    reason: str
    height: int
    width: int
    num_frames: int
    fps: float | None
    target_score: float | None
    objects: list[ObjectOut]
    options: dict[str, Any]


class Answer(BaseModel):
    """One result per text, in order."""

    results: list[ResultOut]
    timings: Timings


class FrameObjectOut(BaseModel):
    """One object on one frame."""

    object_id: int
    status: Literal["ok", "no_target", "empty_mask"]
    phrase: str | None
    code: Rle
    box: tuple[int, int, int, int] | None
    area: int
    iou_score: float
    object_score: float


class FrameOut(BaseModel):
    """One frame; see `FrameResult`."""

    frame: int
    timestamp: float
    height: int
    width: int
    objects: list[FrameObjectOut]
    options: dict[str, Any]


class SessionObjectOut(BaseModel):
    """An object of a session: where it was prompted, and whether frames of it wait (`pending`)."""

    object_id: int
    name: str | None
    prompted_frames: list[int]
    pending: bool


class SessionOut(BaseModel):
    """A session. Without use it ends after `expires_after` seconds."""

    session: str
    num_frames: int
    height: int
    width: int
    fps: float | None
    expires_after: float
    objects: list[SessionObjectOut]


class Said(BaseModel):
    """What the model said to a text."""

    text: str
    status: str
    reason: str


class EditOut(BaseModel):
    """What an edit did: the numbers of its objects, what the model said to words, and the frame as it is now."""

    objects: list[int]
    answer: Said | None
    frame: FrameOut | None


class Problem(BaseModel):
    """Why a request was refused, in one sentence."""

    error: str


__all__ = [
    "Add",
    "Answer",
    "Correct",
    "EditOut",
    "FrameOut",
    "OpenSession",
    "PictureRequest",
    "Problem",
    "Propagate",
    "Remove",
    "ResultOut",
    "SessionOut",
    "VideoRequest",
]
