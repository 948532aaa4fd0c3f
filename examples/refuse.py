"""When nothing fits: a model learns on your validation set when to say so.

    python examples/refuse.py
    python examples/refuse.py --data photos/validation.json photo.jpg "the dog" "the unicorn"

Fits one score per request and its threshold, and asks before and after. `desa2va calibrate` does the same and writes
both into a model's folder.
"""

import argparse
from pathlib import Path

import desa2va
from desa2va.eval.calibration import calibrate, observe, record_requests, refshapes_requests, summarise
from desa2va.training.data.sources import open_source

SCENE = Path(desa2va.__file__).parent / "assets" / "demo" / "scene.png"


def main(arguments: list[str] | None = None) -> None:
    """Asks, fits, asks again."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", nargs="?", default=SCENE)
    parser.add_argument("text", nargs="*", default=["the red object", "the yellow star", "the large purple ring"])
    parser.add_argument("--data", default="refshapes", help="holds expressions that fit nothing (docs/data.md)")
    parser.add_argument("--limit", type=int, default=200, help="requests of refshapes to fit on")
    parser.add_argument("--true-answers", type=float, default=0.9, help="share of true answers that is to be kept")
    parser.add_argument("--model", default="desa2va-tiny")
    args = parser.parse_args(arguments)
    model, processor = desa2va.load(args.model)

    def ask(when: str) -> None:
        inputs = processor(images=args.picture, text=args.text, task="auto")
        results = processor.post_process(model.generate(**inputs, max_new_tokens=64), inputs)
        for text, result in zip(args.text, results, strict=True):
            score = "" if result.target_score is None else f", score {result.target_score:.3f}"
            print(f"{when} {text!r}: {result.status}{score}")

    ask("before:")
    own = args.data != "refshapes"
    asked = record_requests(open_source(args.data).records()) if own else refshapes_requests(args.limit, videos=0)
    seen = observe(model, processor, asked)
    seen.check(args.data)
    report = calibrate(seen, args.true_answers)
    print(summarise(report, args.true_answers))
    model.config.target_calibration = report["fields"]["target_calibration"]  # model.save_pretrained keeps it
    ask("after:")


if __name__ == "__main__":
    main()
