"""SAEs on disk: a folder with a manifest, safetensors and hashes, bound to one model's function.

Owns the format, the reader and writer, the fingerprint of a model, which is remembered from run to run, and the rule by
which two models are the same function (``manifest.ModelIdentity``). May import only errors, settings, features and
families; never vllm and never sae-lens. Start with ``manifest``; ``checkpoint`` says what of a folder counts.
"""
