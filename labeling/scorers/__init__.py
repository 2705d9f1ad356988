"""Ways of scoring a label on held-out text, one file each; each is a ``LabelScorer`` of ``labeling.examiner``.

words      whether a passage has the label's words, against whether the latent fires in it; needs no model
detection  a language model tells the contexts in which the latent fires from others, by the label
fuzzing    a language model tells whether the tokens marked in a context are those on which the latent fires
embedding  how much nearer to the label the contexts lie in which the latent fires, by an embedding
"""

from labeling.scorers.detection import Detection
from labeling.scorers.embedding import EmbeddingScorer
from labeling.scorers.fuzzing import Fuzzing
from labeling.scorers.words import WordDetection

__all__ = ["Detection", "EmbeddingScorer", "Fuzzing", "WordDetection"]
