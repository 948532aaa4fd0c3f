"""`desa2va serve`: the model behind HTTP, for many clients."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from desa2va.argument_types import add_model_arguments, integer

from .common import add_command, load_model

if TYPE_CHECKING:
    from desa2va.serving.limits import Limits

TOKEN = "DESA2VA_TOKEN"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MIB = 2**20
_EXAMPLES = """
  desa2va serve                                     on 127.0.0.1:8000, the shipped model
  desa2va serve --model my-model --device cuda --batch 16 --cache-mib 8192
  DESA2VA_TOKEN=secret desa2va serve --host 0.0.0.0 --port 80
  printf '{"image": "%s", "text": "the red object"}' "$(base64 -w0 photo.png)" |
    curl -s localhost:8000/v1/picture -H 'Content-Type: application/json' -d @-
  desa2va serve --schema > openapi.json             what requests and answers look like
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "serve", "answer requests over HTTP, for many clients", _EXAMPLES)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: this machine alone")
    parser.add_argument("--port", type=integer(0, 65535), default=8000, metavar="N", help="default: %(default)s")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema (OpenAPI) and end")
    _add_limits(parser)
    _add_grants(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    for name, default, about in (
        ("queue", 64, "most requests that wait; more get 429"),
        ("batch", 8, "most questions that the model answers at once"),
        ("cache-mib", 1024, "memory for encodings of pictures that were asked about, MiB"),
        ("sessions", 4, "most videos at a time"),
        ("session-seconds", 600, "after which a session that nobody used is closed"),
        ("request-seconds", 120, "after which a request is given up"),
        ("body-mib", 64, "largest request, MiB"),
        ("max-frames", 1000, "longest video"),
    ):
        least = 0 if name == "cache-mib" else 1
        text = f"{about}; default: {default}"
        group.add_argument(f"--{name}", type=integer(least), default=default, metavar="N", help=text)


def _add_grants(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "grants", f"requests bring their pictures; with a token in the variable {TOKEN} they have to bring it too"
    )
    group.add_argument("--files", type=Path, metavar="DIR", help="requests may name files in this folder: file:NAME")
    group.add_argument(
        "--allow-urls", action="store_true", help="requests may name addresses, which this machine then reads"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal."""
    try:
        import uvicorn

        from desa2va.serving.app import create_app
        from desa2va.serving.engine import Engine
    except ImportError as error:
        raise ImportError(f"the service needs more packages ({error}): pip install 'desa2va[serve]'") from error
    if args.schema:
        return _print_schema()
    limits, token = _limits(args), os.environ.get(TOKEN) or None
    local = args.host in _LOOPBACK
    if not local and token is None:
        print(f"desa2va: warning: everybody who reaches {args.host} may ask; set {TOKEN}", file=sys.stderr)
    model, processor = load_model(args)
    engine = Engine(model, processor, limits.queue, limits.batch, limits.cache_bytes)
    app = create_app(engine, limits, token, _LOOPBACK if local else None)
    uvicorn.run(app, host=args.host, port=args.port, log_level="warning", timeout_graceful_shutdown=10)
    return 0


def _limits(args: argparse.Namespace) -> Limits:
    from desa2va.serving.limits import Limits

    if args.files is not None and not args.files.is_dir():
        raise ValueError(f"--files: there is no folder {str(args.files)!r}")
    return Limits(
        queue=args.queue,
        batch=args.batch,
        cache_bytes=args.cache_mib * _MIB,
        sessions=args.sessions,
        session_seconds=args.session_seconds,
        request_seconds=args.request_seconds,
        body_bytes=args.body_mib * _MIB,
        frames=args.max_frames,
        files=args.files,
        urls=args.allow_urls,
    )


def _print_schema() -> int:
    import json

    from desa2va.serving.app import published_schema

    print(json.dumps(published_schema(), indent=2))
    return 0
