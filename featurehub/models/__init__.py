"""Checkpoints of models by name: a folder, a model of the Hugging Face hub, or a GGUF file that is converted.

Owns      folder    what MODEL means, and the folder that it becomes
          hub       snapshots of the hub, at one commit
          gguf      a folder in Hugging Face format from a GGUF file
          tokens    the tokenizer of a GGUF file, where transformers leaves something out

May import errors, settings, families and artifacts. Nothing here is imported before a name asks for it: a folder needs
neither huggingface_hub nor torch.
"""
