"""Ways of naming latents, one file each; each is an ``Explainer`` of ``labeling.explainer``.

    offline     the words that agree with where a latent fires; needs no key, no network and no language model
    projection  the words that its decoder row promotes; text only scores them
    llm         a language model behind an OpenAI-compatible endpoint, which is shown contexts of every strength
    known       the labels that latents have already, so that these are scored again

To add one, write a class with the protocol's attributes and methods, and pass it as ``explainer=``.
"""

from labeling.explainers.known import KnownLabels
from labeling.explainers.llm import LlmExplainer
from labeling.explainers.offline import NgramExplainer
from labeling.explainers.projection import ProjectionExplainer

__all__ = ["KnownLabels", "LlmExplainer", "NgramExplainer", "ProjectionExplainer"]
