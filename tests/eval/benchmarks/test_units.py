"""What shares a unit: questions up to the batch size, rivals always."""

from desa2va.eval.benchmarks.units import share_out


def alone(count):
    return [[place] for place in range(count)]


def test_questions_that_stand_alone_fill_units():
    """Pictures with one question each share a unit; everything else stays with its own picture or video."""
    records = [(alone(1), False), (alone(3), False), (alone(1), True), ([], True), (alone(1), False)]
    units = [((1, 0), (1, 1)), ((1, 2),), ((2, 0),), ((0, 0), (4, 0))]
    assert list(share_out(records, 2)) == units


def test_rivals_are_not_parted():
    """Guards against half a contest: a unit holds whole groups, as many as fit, and one that is larger alone."""
    record = ([[0, 3, 5], [1, 4], [2]], True)
    assert list(share_out([record], 6)) == [tuple((0, place) for place in range(6))]
    assert list(share_out([record], 5)) == [((0, 0), (0, 1), (0, 3), (0, 4), (0, 5)), ((0, 2),)]
    assert list(share_out([record], 3)) == [((0, 0), (0, 3), (0, 5)), ((0, 1), (0, 2), (0, 4))]
    assert list(share_out([record], 1)) == [((0, 0), (0, 3), (0, 5)), ((0, 1), (0, 4)), ((0, 2),)]
