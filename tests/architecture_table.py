"""README's table of architectures, of what ``tests/benchmarks/families.py`` found."""

import textwrap

from featurehub.architectures import Status, known_architectures

__all__ = ["architecture_table"]

WIDTH = 116
ENDINGS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def architecture_table() -> str:
    """The architectures by status; those that could not be tried are counted."""
    return "\n\n".join(lines_of(status) for status in Status)


def lines_of(status: Status) -> str:
    found = {name: each for name, each in known_architectures().items() if each.status is status}
    names = ", ".join(short(name) for name in found) if status is not Status.UNTRIED else ""
    return "\n".join(
        textwrap.wrap(f"{len(found)} {status}{': ' if names else ''}{names}", WIDTH, subsequent_indent="   ")
    )


def short(name: str) -> str:
    """Without what most names end in; a star marks models that read images or sounds."""
    ending = next((each for each in ENDINGS if name.endswith(each)), "")
    return name.removesuffix(ending) + ("*" if ending == ENDINGS[2] else "")
