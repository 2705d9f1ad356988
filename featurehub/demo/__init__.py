"""The bundled model, its corpus, generator and recogniser: a test bed in which the ground truth is known.

A small chat model is trained on a made-up world: 12 topics (banking has two sub-topics), 6 manners and 3 traits worth
guarding against. Each has its own words and constructions, and they are mixed independently. A prompt asks for a topic,
a manner, both or neither; whatever it does not ask for varies within the answer. For any text, the recogniser tells
which of these concepts each sentence has, so labels, steering and drift can be judged without a person.

Owns      lexicon.toml, prompts.toml    the words
          lexicon, concepts, grammar    what can be said
          answers, prompts, corpus      the generator; everything follows from a seed
          recognizer                    the judge
          tokenizer, batches, model, train, sampling, obedience, base, siblings    the models
          bundle                        the models of featurehub-demo, each with a manifest of how it was made
          smollm2, adapters             the real chat model, which is downloaded, and its fine-tuned siblings
          requests, lora, tuning        what these are trained on, and how

May import featurehub.errors and third-party packages, nothing else of featurehub; what belongs to the real chat model
settings, artifacts and models too. Generator and recogniser are pure Python; only batches, model, train, sampling,
obedience, base, siblings, lora and tuning import torch.

Start reading at ``answers`` (what an answer is), then ``recognizer``; see ``siblings`` for what retraining can do.
"""

from featurehub.demo.bundle import bundled_model, sibling
from featurehub.demo.concepts import Concept, Kind, concepts, names
from featurehub.demo.prompts import neutral_prompts
from featurehub.demo.recognizer import Verdict, recognize

__all__ = [
    "Concept",
    "Kind",
    "Verdict",
    "bundled_model",
    "concepts",
    "names",
    "neutral_prompts",
    "recognize",
    "sibling",
]
