"""The kinds of errors that mean "what was given can not be used", in one place, and what an error leaves in memory.

The command line turns each of the kinds into one line; readers of files raise no other kind, which the fuzz test holds
them to. Any other exception is a fault of this package and shows its traceback. (Engineering; no paper section.)
"""

from __future__ import annotations

import gc
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

USER_ERRORS: tuple[type[Exception], ...] = (ValueError, TypeError, OSError, ImportError)
# How transformers says that something it needs does not import, and torchvision that it was built for another torch.
_BROKEN_IMPORT = re.compile(r"^Could not import module '|operator torchvision::")


ASK_THE_DOCTOR = "`desa2va doctor` says which do not belong together, e.g. torch and torchvision from different places"


def broken_import(error: BaseException) -> str | None:
    """What is wrong with an installation that does not fit together, `None` for any other error.

    transformers names the class that was asked for ("Could not import module 'AutoProcessor'") and leaves what was
    wrong to the traceback: the first error of the chain.
    """
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    if not any(isinstance(link, (ImportError, RuntimeError)) and _BROKEN_IMPORT.search(str(link)) for link in chain):
        return None
    return f"an installed package does not import ({type(chain[-1]).__name__}: {' '.join(str(chain[-1]).split())})"


@contextmanager
def imports_named() -> Iterator[None]:
    """Around imports of heavy libraries.

    Raises:
        ImportError: one sentence, where the installation does not fit together.
    """
    try:
        yield
    except (ImportError, RuntimeError) as error:
        if (line := broken_import(error)) is None:
            raise
        raise ImportError(f"{line}; {ASK_THE_DOCTOR}") from error


@contextmanager
def memory_freed() -> Iterator[None]:
    """Lets go of what was loaded when something goes wrong inside; also a decorator.

    An error that is kept (a notebook keeps the last one) holds the frames it went through, and they hold the model
    that was refused: the next try would find no memory.
    """
    handled = sys.exc_info()[1]  # the caller's own, if it is in the middle of one
    try:
        yield
    except Exception as error:
        link: BaseException | None = error
        while link is not None and link is not handled:
            traceback.clear_frames(link.__traceback__)
            link = link.__cause__ or link.__context__
        gc.collect()  # hooks and modules point at each other
        raise


__all__ = ["ASK_THE_DOCTOR", "USER_ERRORS", "broken_import", "imports_named", "memory_freed"]
