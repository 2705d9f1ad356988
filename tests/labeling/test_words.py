"""Words, sentences and n-grams from pieces of tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.words import BREAK, WORD, find_words, join, ngrams_of, sentence_starts, size_of, words_in


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("银行贷款。GPT模型3月", "银 行 贷 款 gpt 模 型 3 月"),
        ("東京のコーヒーショップへ行く らーめん", "東 京 の コーヒーショップ へ 行 く らー め ん"),
        ("ธนาคารให้เงินกู้ ๑๒", "ธ นา คา ร ให้ เงิ น กู้ ๑๒"),
        ("ພາສາລາວ", "ພາ ສາ ລາ ວ"),
        ("ភាសាខ្មែរ", "ភា សា ខ្មែ រ"),
        ("မြန်မာ", "မြ န် မာ"),
        ("हिन्दी में बैंक", "हिन्दी में बैंक"),
        ("한국어 은행", "한국어 은행"),
        ("e\u0301te\u0301 l’été", "e\u0301te\u0301 l’été"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_words_are_what_their_script_parts(text: str, words: str) -> None:
    assert words_in(text) == words.split(" ")


def test_ngrams_are_joined_as_their_script_joins_them() -> None:
    assert ngrams_of(words_in("gpt的模型"), 3) == [
        "gpt",
        "的",
        "模",
        "型",
        "gpt 的",
        "的模",
        "模型",
        "gpt 的模",
        "的模型",
    ]
    assert join(words_in("银行 loan 贷款")) == "银行 loan 贷款"
    assert ngrams_of([], 2) == []
    assert join([]) == ""


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("bank", 1),
        ("thank you", 2),
        ("银", 1),
        ("银行", 1),
        ("银行贷", 2),
        ("gpt 模型", 2),
        ("ธนาคา", 1),
        ("ธนาคาร", 2),
    ],
)
def test_size_is_the_words_that_people_would_count(text: str, size: int) -> None:
    assert size_of(text) == size


def test_sentences_end_at_the_marks_of_their_script() -> None:
    assert sentence_starts(["银", "行", "！", "好", "。", "ถ", "क", "।", "x"]) == [0, 3, 5, 8]


SCRIPTS = st.text(st.sampled_from("ab' 3銀行くらーコートธนาคเ้ងខ្មែမြန်हि्é\u0301\u200c。-"), max_size=20)


@given(SCRIPTS)
def test_what_was_joined_is_read_back(text: str) -> None:
    joined = join(words_in(text))
    assert join(words_in(joined)) == joined


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_read_as_all_else_is(text: str) -> None:
    assert words_in(text) == WORD.findall(text.casefold())


@given(st.lists(SCRIPTS, max_size=10))
def test_words_of_any_script_are_those_of_the_text_wherever_it_is_cut(pieces: list[str]) -> None:
    assert find_words(pieces).words == words_in("".join(pieces))
