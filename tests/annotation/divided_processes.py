"""An annotation that two processes share over gloo. Run as a program with VIDEOS MASKS OUT."""

import os
import sys

import torch

from desa2va.annotation import annotate
from tests.training.free_port import free_port


def main(videos, masks, out):
    words = [videos, "--masklets", masks, "--out", out, "--validation", "0", "--batch-size", "1"]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(rank)
                code = annotate.main(words)
            finally:
                sys.stdout.flush()
                os._exit(code)
        children.append(child)
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
