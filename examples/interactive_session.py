"""Words, a click, a correction, save and resume on a video of your own, with what it cost.

    python examples/interactive_session.py clip.mp4 "the dog" --click 640 360 --frame 100 --out session_demo

Prints encodings, processor seconds and peak memory; leaves three overlays and the saved session in `--out`.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

import desa2va
from desa2va.processing.files import output_folder


@contextmanager
def count_encodings(model) -> Iterator[list[int]]:
    """A list to which every call of SAM-2's image encoder adds its number of frames."""
    frames: list[int] = []
    encoder = model.segmenter.sam.vision_encoder
    hook = encoder.register_forward_pre_hook(lambda _, args: frames.append(len(args[0])))
    try:
        yield frames
    finally:
        hook.remove()


def report(step: str, results: int, encoded: list[int], started: float) -> None:
    """One line about a step that began at processor time `started`."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = time.process_time() - started
    print(f"{step}: {results} frames, {sum(encoded)} encodings, {seconds:.1f} CPU s, peak {peak:.0f} MB")
    encoded.clear()


def main(arguments: list[str] | None = None) -> None:
    """Runs the five steps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("video", help="a video file or a folder of frames")
    parser.add_argument("text", help="what to segment, in words")
    parser.add_argument("--click", type=float, nargs=2, metavar=("X", "Y"), help="pixels; the middle when omitted")
    parser.add_argument("--frame", type=int, help="frame of the click and of the correction; the middle when omitted")
    parser.add_argument("--model", default="desa2va-tiny")
    parser.add_argument("--out", type=Path, default=Path("session_demo"))
    args = parser.parse_args(arguments)
    model, processor = desa2va.load(args.model)

    with (
        count_encodings(model) as encoded,
        output_folder(args.out, replace=True, sources=[args.video]) as out,
        desa2va.DeSa2VASession(model, processor, args.video) as session,
    ):
        video = session.video
        frame = len(video) // 2 if args.frame is None else args.frame
        x, y = args.click or (video.width / 2, video.height / 2)
        started = time.process_time()
        words = session.add(text=args.text)
        print(f"{args.text!r}: {session.last_answer.status}, objects {words}")
        clicked = session.add(points=[(x, y)], frame=frame, name="clicked")
        report("words and a click, both ways", len(list(session.propagate())), encoded, started)

        started = time.process_time()
        width, height = video.width / 4, video.height / 4
        session.correct(clicked[0], frame, box=(x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        report("corrected by a box, forwards", len(list(session.propagate())), encoded, started)

        for number in sorted({0, frame, len(video) - 1}):
            picture = session.result(number).plot(video.read([number])[0])
            Image.fromarray(picture).save(out / f"{number:05d}.png")
        session.save(out / "session.desa2va")

    with desa2va.DeSa2VASession.load(args.out / "session.desa2va", model, processor, args.video) as session:
        session.remove(clicked[0])
        session.undo()
        print(f"resumed with {len(session.objects)} objects; on frame {frame}:")
        for found in session.result(frame).objects:
            print(f"  object {found.object_id} {found.phrase!r}: {found.area} pixels, box {found.box}")


if __name__ == "__main__":
    main()
