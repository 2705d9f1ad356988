"""How a context is shown to a language model: in one line, with the tokens marked on which a latent fires."""

from collections.abc import Iterable, Sequence

from featurehub.records import Context

__all__ = ["graded", "marked", "plain"]

FULL = 10
LINE = " / "


def graded(contexts: Sequence[Context]) -> list[str]:
    """Contexts with each firing token as ``[[token|strength]]``; the strength is 1 to 10, relative to all of them."""
    strongest = max((max(each.activations, default=0.0) for each in contexts), default=0.0)
    return [graded_line(each, strongest) for each in contexts]


def graded_line(context: Context, strongest: float) -> str:
    grades = [round(FULL * value / strongest) if strongest else 0 for value in context.activations]
    return one_line(
        bracketed(token, f"|{grade}") if grade else token for token, grade in zip(context.tokens, grades, strict=True)
    )


def marked(context: Context, marks: Sequence[bool]) -> str:
    """A context with some of its tokens as ``[[token]]``."""
    pairs = zip(context.tokens, marks, strict=True)
    return one_line(bracketed(token, "") if mark else token for token, mark in pairs)


def plain(context: Context) -> str:
    """A context without marks."""
    return one_line(context.tokens)


def bracketed(token: str, grade: str) -> str:
    """The spaces before a token stay outside of its brackets. A token without text has none."""
    bare = token.lstrip()
    return f"{token[: len(token) - len(bare)]}[[{bare}{grade}]]" if bare else token


def one_line(tokens: Iterable[str]) -> str:
    return "".join(tokens).strip().replace("\n", LINE)
