"""Words, sentences and n-grams from pieces of tokens."""

from hypothesis import given
from hypothesis import strategies as st

from labeling.words import BREAK, find_words, ngrams_of, sentence_starts, words_in


def test_pieces_of_a_subword_tokenizer_become_words() -> None:
    found = find_words([BREAK, " Th", "e", " b", "ank", "ing", " l", "oan", "'", "s", " due", "."])
    assert found.words == ["the", "banking", "loan's", "due"]
    assert found.tokens.tolist() == [1, 3, 6, 10]


def test_no_word_reaches_across_a_special_token() -> None:
    assert find_words(["say", BREAK, "so"]).words == ["say", "so"]


def test_token_that_only_begins_a_character_ends_no_word() -> None:
    assert find_words([" na", "", "ï", "ve"]).words == ["naïve"]
    assert sentence_starts([" na", "", "ï", "ve"]) == [0]


def test_one_piece_may_hold_several_words() -> None:
    assert find_words(["one two", "three"]).tokens.tolist() == [0, 0]


def test_sentences_begin_after_their_ends_and_special_tokens() -> None:
    assert sentence_starts([BREAK, " a", " b", ".", " c", "!", BREAK, " d"]) == [0, 1, 4, 6, 7]
    assert sentence_starts([]) == []
    assert sentence_starts([" x"] * 100) == [0, 48, 96]


def test_ngrams() -> None:
    assert ngrams_of(["a", "b", "c"], 2) == ["a", "b", "c", "a b", "b c"]
    assert ngrams_of([], 3) == []


@given(st.lists(st.text(max_size=6), max_size=30))
def test_words_are_those_of_the_text_wherever_it_is_cut(pieces: list[str]) -> None:
    assert find_words(pieces).words == words_in("".join(pieces))


@given(st.lists(st.text(max_size=6), max_size=30))
def test_each_word_begins_in_its_token(pieces: list[str]) -> None:
    found = find_words(pieces)
    assert all(set(word) & set(pieces[token].casefold()) for word, token in zip(found.words, found.tokens, strict=True))
    assert (found.tokens[1:] >= found.tokens[:-1]).all()
