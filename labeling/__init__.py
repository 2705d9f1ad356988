"""Names for an SAE's features, and the strengths at which they steer.

Owns the explainers (offline, without a key, a network or a language model; by what a feature writes; by a language
model), the evidence that they are given, the scoring of their labels on held-out text, the statistics of a feature's
page, and the search for a strength by really steering:

    corpus = Corpus(documents, matrix, offsets)             # the text of every token, and its activations
    head = read_unembedding(folder)                         # of the model, see ``labeling.unembedding``
    projection = project(W_dec, head.norm, head.weight, tokens)  # what each latent writes
    labels = label_latents(corpus, projection=projection)   # a label or a reason, for every live latent

Pass your own explainer and scorer as ``explainer=`` and ``scorer=``; ``explainers`` and ``scorers`` have one file for
each that there is. A latent that cannot be labelled has a reason, never a label that says so; too many of them raise
BudgetExceeded.

May import the engine, records and all below; never the store, saes or api, and nothing here trains. Start with
``label`` (the run as a whole), then ``evidence`` and ``contexts`` (what explainers are shown), ``explainer`` and
``examiner`` (the two seams); ``llm`` asks language models; ``strength`` calibrates what ``calibration`` chooses.
"""

from labeling.corpus import Corpus
from labeling.label import LabelConfig, LatentLabel, label_latents, rename
from labeling.logit_lens import Projection, project

__all__ = ["Corpus", "LabelConfig", "LatentLabel", "Projection", "label_latents", "project", "rename"]
