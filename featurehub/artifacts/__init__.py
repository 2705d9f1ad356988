"""SAEs on disk: a folder with a manifest, safetensors and hashes, bound to one model's weights.

Owns the format, the reader and writer, and the fingerprint of a model, which is remembered from run to run. May import
only errors, settings and features; never vllm and never sae-lens. Start with ``manifest``.
"""
