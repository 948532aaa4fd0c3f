"""The subcommands of `desa2va`, one module each: `add_parser(subparsers)` describes it, `run(args) -> int` does it."""
