"""`desa2va web`: a page to try a model on."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from typing import Any

from desa2va.argument_types import add_model_arguments, integer

from .common import add_command, load_model

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MIB = 2**20
_EXAMPLES = """
  desa2va web                                       http://127.0.0.1:7860, the shipped model
  desa2va web --model my-model --device cuda --open
  desa2va web --mcp                                 also a tool for agents, at /gradio_api/mcp/
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = add_command(subparsers, "web", "open a page: words and clicks on your pictures and videos", _EXAMPLES)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: this machine alone")
    parser.add_argument("--port", type=integer(0, 65535), default=7860, metavar="N", help="default: %(default)s")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.add_argument("--mcp", action="store_true", help="offer a tool to agents (Model Context Protocol)")
    group = parser.add_argument_group("limits")
    for name, default, about in (
        ("queue", 64, "most steps that wait"),
        ("sessions", 4, "most visitors with something open"),
        ("session-seconds", 1800, "after which what nobody touched is closed and removed"),
        ("request-seconds", 300, "after which a step is given up"),
        ("body-mib", 64, "largest file, MiB"),
        ("max-frames", 1000, "longest video"),
    ):
        text = f"{about}; default: {default}"
        group.add_argument(f"--{name}", type=integer(1), default=default, metavar="N", help=text)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve the page until a signal."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # nothing leaves this machine
    os.environ["GRADIO_RUN_HISTORY"] = "False"  # nor stays in the browser
    with tempfile.TemporaryDirectory(prefix="desa2va-web-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # read by gradio when it is imported
        try:
            from starlette.middleware import Middleware

            from desa2va.web.door import Door
            from desa2va.web.layout import CSS
            from desa2va.web.page import build
        except ImportError as error:
            raise ImportError(f"the page needs more packages ({error}): pip install 'desa2va[web]'") from error
        from desa2va.serving.engine import Engine
        from desa2va.web.visitors import Visitors

        local = args.host in _LOOPBACK
        if not local:
            print(f"desa2va: warning: everybody who reaches {args.host} may use this page", file=sys.stderr)
        limits = _limits(args)
        model, processor = load_model(args)
        visitors = Visitors(Engine(model, processor, limits.queue), limits)
        page = build(visitors, args.model, args.mcp).queue(max_size=limits.queue, default_concurrency_limit=8)
        try:
            page.launch(
                server_name=args.host,
                server_port=args.port or None,
                inbrowser=args.open,
                mcp_server=args.mcp,
                max_file_size=limits.body_bytes,
                footer_links=[],
                css=CSS,
                app_kwargs={"middleware": [Middleware(Door, folder, limits, _LOOPBACK if local else None)]},
            )
        finally:
            page.close(verbose=False)
            visitors.close()
    return 0


def _limits(args: argparse.Namespace) -> Any:
    from desa2va.serving.limits import Limits

    return Limits(
        queue=args.queue,
        sessions=args.sessions,
        session_seconds=args.session_seconds,
        request_seconds=args.request_seconds,
        body_bytes=args.body_mib * _MIB,
        frames=args.max_frames,
    )
