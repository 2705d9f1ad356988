"""`featurehub features import` and `export`: labels and statistics in the form in which Neuronpedia exchanges them.

    labels.json                          a list of explanations
    FOLDER/explanations/batch-0.jsonl.gz     an explanation a line
    FOLDER/features/batch-0.jsonl.gz         the statistics of a feature a line
    FOLDER/activations/batch-0.jsonl.gz      a context of a feature a line

1. All rows of an import belong to one source, such as ``gemma-2-2b/20-gemmascope-res-16k``: a model, and an SAE of it.
2. With an SAE of ours that this source is, its features get the labels as new versions, and their former names stay as
   aliases. Rows of latents that are not among its features are counted and left out; ours keeps its own statistics.
3. Without one, the source is registered as it is, *without weights*: its labels can be searched, and nothing can be
   steered by them. ``join`` gives them to the SAE once that is here.
4. Everything is written in one transaction.
"""

from featurehub.runs.neuronpedia.exporting import export_features
from featurehub.runs.neuronpedia.importing import Imported, import_features, join

__all__ = ["Imported", "export_features", "import_features", "join"]
