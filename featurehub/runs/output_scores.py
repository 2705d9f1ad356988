"""What output scores (``labeling.output_score``) are computed with: a whole model's engine, and unsteered answers.

An SAE after the last layer has none: the stream is captured before it is edited at its own hook point.
"""

from collections.abc import Sequence

from featurehub.engine.offline import Engine
from featurehub.errors import UnsupportedModel
from labeling.output_score import Continuation, LabelTokens, OutputScores
from labeling.strength import Calibrator
from labeling.unembedding import read_unembedding

__all__ = ["continuations", "open_output_scores"]


def open_output_scores(engine: Engine, calibrator: Calibrator) -> OutputScores | None:
    """What computes output scores; None where they cannot be computed on this model, or of this SAE.

    Args:
        engine: Steers, and captures the stream after the model's last layer.
        calibrator: Has heard the unsteered model.
    """
    read_out = engine.config.hooks[-1]
    begun = continuations(engine, calibrator)
    if read_out.saes or not begun:
        return None
    try:
        unembedding = read_unembedding(engine.model)
    except UnsupportedModel:
        return None
    config, norm = calibrator.config, calibrator.bench.median_norm
    tokens = LabelTokens(engine.tokenizer)
    return OutputScores(engine, unembedding, tokens, read_out.point, begun, norm, config.score_dose)


def continuations(engine: Engine, calibrator: Calibrator) -> list[Continuation]:
    """The beginnings of the model's own answers to the first of the prompts that choose strengths."""
    config, texts = calibrator.config, calibrator.unsteered.choosing
    asked: Sequence[list[int]] = calibrator.choosing[: config.score_answers]
    begun = (
        Continuation(prompt, engine.tokenizer.encode(text, add_special_tokens=False)[: config.score_tokens])
        for prompt, text in zip(asked, texts, strict=False)
    )
    return [each for each in begun if each.answer]
