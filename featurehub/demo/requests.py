"""What SmolLM2 is asked, so that its own answers range over many subjects, tones and forms."""

import random
import tomllib
from importlib.resources import files

__all__ = ["requests"]

SEED = 7
COMBINED, TIMES = 4500, 6
"""How many requests combine a form with a subject, and how often each of the others comes."""


def requests() -> list[str]:
    """All requests, in an order that is always the same."""
    read = tomllib.loads(files("featurehub.demo").joinpath("requests.toml").read_text("utf-8"))
    rng = random.Random(SEED)
    combined = [form.format(s=subject) for subject in read["subjects"] for form in read["forms"]]
    rng.shuffle(combined)
    asked = combined[:COMBINED] + [request for request in read["whole"] for _ in range(TIMES)]
    rng.shuffle(asked)
    return asked
