"""The models that sae-lens' registry names, and the architecture that the configuration of each checkpoint names."""

__all__ = ["MODELS"]

_LLAMA = "LlamaForCausalLM"
_GEMMA_2 = "Gemma2ForCausalLM"
_GEMMA_3, _GEMMA_3_IMAGES = "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"
_QWEN_3, _QWEN_3_5 = "Qwen3ForCausalLM", "Qwen3_5ForConditionalGeneration"

MODELS = {
    "Qwen/Qwen2.5-7B-Instruct": "Qwen2ForCausalLM",
    "Qwen/Qwen3-1.7B-Base": _QWEN_3,
    "Qwen/Qwen3-30B-A3B-Base": "Qwen3MoeForCausalLM",
    "Qwen/Qwen3-8B-Base": _QWEN_3,
    "Qwen/Qwen3.5-27B": _QWEN_3_5,
    "Qwen/Qwen3.5-2B-Base": _QWEN_3_5,
    "Qwen/Qwen3.5-35B-A3B-Base": "Qwen3_5MoeForConditionalGeneration",
    "Qwen/Qwen3.5-9B-Base": _QWEN_3_5,
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": _LLAMA,
    "gemma-2-27b": _GEMMA_2,
    "gemma-2-2b": _GEMMA_2,
    "gemma-2-9b": _GEMMA_2,
    "gemma-2-9b-it": _GEMMA_2,
    "gemma-2b": "GemmaForCausalLM",
    "gemma-2b-it": "GemmaForCausalLM",
    "google/gemma-3-12b-it": _GEMMA_3_IMAGES,
    "google/gemma-3-12b-pt": _GEMMA_3_IMAGES,
    "google/gemma-3-1b-it": _GEMMA_3,
    "google/gemma-3-1b-pt": _GEMMA_3,
    "google/gemma-3-270m": _GEMMA_3,
    "google/gemma-3-270m-it": _GEMMA_3,
    "google/gemma-3-27b-it": _GEMMA_3_IMAGES,
    "google/gemma-3-27b-pt": _GEMMA_3_IMAGES,
    "google/gemma-3-4b-it": _GEMMA_3_IMAGES,
    "google/gemma-3-4b-pt": _GEMMA_3_IMAGES,
    "gpt2-small": "GPT2LMHeadModel",
    "meta-llama/Llama-3.1-8B": _LLAMA,
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA,
    "meta-llama/Llama-3.3-70B-Instruct": _LLAMA,
    "meta-llama/Meta-Llama-3-8B-Instruct": _LLAMA,
    "mistral-7b": "MistralForCausalLM",
    "openai/gpt-oss-20b": "GptOssForCausalLM",
    "pythia-70m-deduped": "GPTNeoXForCausalLM",
    "qwen3-0.6b": _QWEN_3,
    "qwen3-1.7b": _QWEN_3,
    "qwen3-14b": _QWEN_3,
    "qwen3-4b": _QWEN_3,
    "qwen3-8b": _QWEN_3,
}
"""Architectures by the registry's name of the model. Gemma 3 from 4B on and Qwen3.5 are classes that read images."""
