"""Pickles of annotation files: what the public sets hold is read, what would run is refused."""

import collections
import os
import pickle

import numpy as np
import pytest

from desa2va.training.data.readers import read_pickle

REFS = [
    {"ref_id": 3, "ann_id": [1, 2], "split": "testA", "sentences": [{"sent": "the dog", "tokens": ["the", "dog"]}]},
    {"size": (3, 4), "counts": b"12\xff", "area": 2.5, "flag": True, "none": None, "set": {1, 2}},
]


def write(tmp_path, content):
    path = tmp_path / "refs(unc).p"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_containers_of_every_protocol(tmp_path, protocol):
    """Guards against a restriction that refuses how an old protocol spells bytes and sets."""
    assert read_pickle(write(tmp_path, pickle.dumps(REFS, protocol))) == REFS


def test_python_2(tmp_path):
    """RefCOCO's files come from Python 2: texts are bytes there, also ones beyond ASCII."""
    content = b"(dp0\nS'sent'\np1\nS'caf\\xe9'\np2\nsS'ids'\np3\n(lp4\nI7\naL8L\nas."
    assert read_pickle(write(tmp_path, content)) == {"sent": "café", "ids": [7, 8]}


@pytest.mark.parametrize("core", ["core", "_core"])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_arrays_and_scalars_of_both_numpys(tmp_path, core, protocol):
    """Guards against a file of numpy 1 that only numpy 1 can read, and the other way round."""
    held = [np.arange(6, dtype=">i4").reshape(2, 3).T, np.float32(2.5), np.array(["a", "bc"]), np.array([True])]
    content = pickle.dumps(held, protocol)
    if protocol >= 4:  # the stream, and in it each name, state their lengths
        content = content[:2] + content[11:]
    for module in ("multiarray", "numeric"):
        wanted = f"numpy.{core}.{module}".encode()
        for other in (b"core", b"_core"):
            found = b"numpy.%b.%b" % (other, module.encode())
            content = content.replace(b"\x8c%c%b" % (len(found), found), b"\x8c%c%b" % (len(wanted), wanted))
            content = content.replace(b"c%b\n" % found, b"c%b\n" % wanted)
    read = read_pickle(write(tmp_path, content))
    for own, original in zip(read, held, strict=True):
        assert np.array_equal(own, original)
        assert own.dtype.newbyteorder("=") == original.dtype.newbyteorder("=")


class Poison:
    """Runs a command as soon as it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_poisoned_pickle_does_not_run(tmp_path, protocol):
    """A pickle is a program: the file and what it asked for are named, nothing happens."""
    path = write(tmp_path, pickle.dumps([REFS, Poison(tmp_path / "owned")], protocol))
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p, content: .*holds a call of (posix|nt)\.mkdir"):
        read_pickle(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"c__builtin__\ngetattr\n.",
        b"Ssomewhere\n.",
        b"Psomewhere\n.",
        b"",
        b"\x80\x04]",
        pickle.dumps(np.array([object], dtype=object)),
        pickle.dumps(np.zeros(2, [("a", "i4")])),
        pickle.dumps(np.zeros(5, np.uint8), 4).replace(b"K\x05", b"K\x63"),
        pickle.dumps(collections.Counter("aab")),
    ],
    ids=["eval", "numpy", "getattr", "bad", "outside", "empty", "cut", "objects", "fields", "short array", "class"],
)
def test_whatever_else_is_an_error_with_the_file(tmp_path, content):
    """Guards the fringes: other calls, objects inside arrays, arrays that state another size, broken files."""
    with pytest.raises(ValueError, match=r"refs\(unc\)\.p, content: "):
        read_pickle(write(tmp_path, content))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.p"):
        read_pickle(tmp_path / "nowhere.p")
