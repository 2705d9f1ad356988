"""Texts on disk, against lists of strings."""

from hypothesis import given
from hypothesis import strategies as st

from labeling.texts import PackedTexts


@given(st.lists(st.lists(st.text(max_size=3), max_size=6), max_size=5), st.slices(6))
def test_they_are_the_lists_that_were_packed(texts: list[list[str]], part: slice) -> None:
    packed = PackedTexts(texts)
    assert len(packed) == len(texts)
    assert [list(text) for text in packed] == texts
    assert [list(text) for text in packed[part]] == texts[part]
    for found, text in zip(packed, texts, strict=True):
        assert len(found) == len(text)
        assert list(found[part]) == text[part]
        assert [found[at] for at in range(-len(text), len(text))] == [*text, *text]
