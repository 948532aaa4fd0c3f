from types import SimpleNamespace

from desa2va.processing.results.counts import count_remarks


def entry(span=None, status="ok"):
    return SimpleNamespace(span=span, status=status)


def test_numbers_that_the_masks_contradict_are_told():
    """Guards "three red circles" above two masks, and an object without a pixel that is counted as one."""
    text = "Sure, three red circles."
    span = (6, 23)
    assert count_remarks(text, [entry(span)] * 3) == []
    assert count_remarks(text, [entry(span)] * 2) == ["the text says 'three red circles', but the masks of it are 2"]
    assert count_remarks(text, [entry(span), entry(span), entry(span, "empty_mask")]) == [
        "the text says 'three red circles', but the masks of it are 2"
    ]
    assert count_remarks("There are 4 dogs.", [entry()] * 2) == ["the text says 'There are 4', but the masks are 2"]
    assert count_remarks("There are two dogs.", [entry()] * 2) == []


def test_numbers_that_count_nothing_are_left_alone():
    """Guards remarks about a house number, "the one on the left", and phrases that are counted apart."""
    assert count_remarks("Sure, the one on the left.", [entry((6, 25))] * 2) == []
    assert count_remarks("House 12 stands in route 66.", [entry()]) == []
    text = "two dogs and one cat"
    assert count_remarks(text, [entry((0, 8)), entry((0, 8)), entry((13, 20))]) == []
    assert count_remarks(text, [entry((0, 8)), entry((13, 20)), entry((13, 20))]) == [
        "the text says 'two dogs', but the masks of it are 1",
        "the text says 'one cat', but the masks of it are 2",
    ]
    assert count_remarks("Onerous dogs", [entry((0, 12))] * 2) == []
