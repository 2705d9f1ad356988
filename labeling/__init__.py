"""Names for an SAE's features, and the strengths at which they steer.

Owns the offline explainer (no key, no network, no language model), the evidence that it is given, the scoring of its
labels on held-out text, the statistics of a feature's page, and the search for a strength by really steering:

    corpus = Corpus(documents, matrix, offsets)             # the text of every token, and its activations
    head = read_unembedding(folder)                         # of the model, see ``labeling.unembedding``
    projection = project(W_dec, head.norm, head.weight, tokens)  # what each latent writes
    labels = label_latents(corpus, projection=projection)   # a label or a reason, for every live latent

Pass your own explainer and scorer as ``explainer=`` and ``scorer=``. A latent that cannot be labelled has a reason,
never a label that says so; too many of them raise BudgetExceeded.

May import the engine, records and all below; never the store, saes or api, and nothing here trains. Start with
``label`` (the run as a whole), then ``evidence`` (the statistic that picks a name) and ``explainer``; ``strength``
calibrates what ``calibration`` chooses.
"""

from labeling.corpus import Corpus
from labeling.label import LabelConfig, LatentLabel, label_latents, rename
from labeling.logit_lens import Projection, project

__all__ = ["Corpus", "LabelConfig", "LatentLabel", "Projection", "label_latents", "project", "rename"]
