"""What does the service give to many clients, beside the same questions asked one by one in Python?

Enters: nothing; the shipped model and pictures of RefShapes. Leaves: questions per second by number of clients, as
ratios to single calls of the same run, how many shared a pass, and the resident memory of the service along the way.
Load comes from locust, on the same machine and cores as the service.

    python -m benchmarks.service --requests 2000 --json service.json
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image

CLIENTS = (1, 4, 16)
NUM_PICTURES = 8


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30, help="for each number of clients")
    parser.add_argument("--requests", type=int, default=2000, help="over which memory is watched")
    parser.add_argument("--cache-mib", type=int, default=1024)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_pictures(Path(folder))
        figures = {"single_per_second": single_calls(pictures, args.seconds)}
        figures |= service_figures(Path(folder), args)
    text = json.dumps(figures, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


def write_pictures(folder: Path) -> list[np.ndarray]:
    """Pictures of RefShapes, and their base64 as files."""
    from desa2va.training.data.refshapes import RefShapes

    scenes = RefShapes("test", length=NUM_PICTURES)
    pictures = [np.asarray(scenes[number].frames[0]) for number in range(NUM_PICTURES)]
    for number, picture in enumerate(pictures):
        target = io.BytesIO()
        Image.fromarray(picture).save(target, "PNG")
        (folder / f"{number}.b64").write_text(base64.b64encode(target.getvalue()).decode())
    return pictures


def single_calls(pictures: list[np.ndarray], seconds: float) -> float:
    """Questions per second of the Python API, one after the other, without any cache."""
    import desa2va

    model, processor = desa2va.load(device="cpu")
    count, end = 0, None
    while end is None or time.monotonic() < end:
        inputs = processor(images=pictures[count % len(pictures)], text="the red circle", task="segment")
        processor.post_process(model.generate(**inputs, max_new_tokens=128), inputs)
        if end is None:  # the first call warms up
            end, begun = time.monotonic() + seconds, time.monotonic()
        else:
            count += 1
    return count / (time.monotonic() - begun)


def service_figures(folder: Path, args: argparse.Namespace) -> dict:
    """Starts a service, asks it, ends it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--device", "cpu", "--batch", "16", "--cache-mib", str(args.cache_mib)]
    process = subprocess.Popen([sys.executable, "-m", "desa2va", "serve", *options])
    address, figures = f"http://127.0.0.1:{port}", {"clients": {}, "resident_mib": []}
    try:
        wait_until_up(address, process)
        ask(address, folder, 1, 5, 10**9)
        for clients in CLIENTS:
            figures["clients"][clients] = measured(address, folder, clients, args.seconds)
        done = counted(address, "questions_total")
        while (total := counted(address, "questions_total")) - done < args.requests:
            figures["resident_mib"].append([int(total - done), resident_mib(process.pid)])
            ask(address, folder, 8, 600, max(1, args.requests // 8))
        figures["resident_mib"].append([int(total - done), resident_mib(process.pid)])
    finally:
        process.terminate()
        process.wait(60)
    return figures


def measured(address: str, folder: Path, clients: int, seconds: int) -> dict:
    """One number of clients."""
    before = {name: counted(address, name) for name in ("questions_total", "batches_total", "encoded_total")}
    answered = ask(address, folder, clients, seconds, 10**9)
    after = {name: counted(address, name) - before[name] for name in before}
    per_batch = after["questions_total"] / max(after["batches_total"], 1)
    return {**answered, "questions_per_pass": round(per_batch, 2), "encoded": int(after["encoded_total"])}


def ask(address: str, folder: Path, clients: int, seconds: int, requests: int) -> dict:
    """What locust reports: requests per second, median and 95 % milliseconds, failures."""
    users = Path(__file__).with_name("service_users.py")
    command = [sys.executable, "-m", "locust", "-f", str(users), "--headless", "-u", str(clients), "-r", str(clients)]
    command += ["-t", f"{seconds}s", "-H", address, "--csv", str(folder / "out"), "--only-summary", "-L", "ERROR"]
    running = subprocess.Popen(command, env={**os.environ, "PICTURES": str(folder)}, stdout=subprocess.DEVNULL)
    done = counted(address, "questions_total")
    while running.poll() is None:
        if counted(address, "questions_total") - done >= requests:
            running.terminate()
        time.sleep(0.2)
    with open(folder / "out_stats.csv", newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
    return {
        "per_second": float(row["Requests/s"]),
        "median_ms": float(row["Median Response Time"] or 0),
        "p95_ms": float(row["95%"] if row["95%"] != "N/A" else 0),
        "failures": int(row["Failure Count"]),
    }


def wait_until_up(address: str, process: subprocess.Popen) -> None:
    """Returns when the service answers."""
    while True:
        if process.poll() is not None:
            raise SystemExit("the service did not start")
        try:
            urllib.request.urlopen(f"{address}/health").close()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)


def counted(address: str, name: str) -> float:
    """A number of `/metrics`."""
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        return float(re.search(rf"^desa2va_{name} (\S+)$", answer.read().decode(), re.MULTILINE)[1])


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024, 1)


if __name__ == "__main__":
    main()
