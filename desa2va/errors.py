"""The kinds of errors that mean "what was given can not be used", in one place.

The command line turns each of them into one line; readers of files raise no other kind, which the fuzz test holds them
to. Any other exception is a fault of this package and shows its traceback. (Engineering; no paper section.)
"""

USER_ERRORS: tuple[type[Exception], ...] = (ValueError, TypeError, OSError, ImportError)

__all__ = ["USER_ERRORS"]
