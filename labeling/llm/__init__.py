"""A language model behind an OpenAI-compatible endpoint, asked for answers of a fixed form within a budget.

``client`` asks, ``budget`` bounds what that may cost. The explainer and the scorers that ask it are in
``labeling.explainers`` and ``labeling.scorers``.
"""

from labeling.llm.budget import LlmBudget, Usage
from labeling.llm.client import Llm, LlmConfig, NoReply

__all__ = ["Llm", "LlmBudget", "LlmConfig", "NoReply", "Usage"]
