"""SAEs that other projects made, read without those projects, and never by executing what lies in a file.

Reading order:
    source       a path, a repository of the Hugging Face hub, or a name in sae-lens' registry, as a path
    recognise    which format lies there, and the SAE that it holds
    imported     an SAE in our own equation, and what is folded into its weights on the way
    files        tensors and configurations of files that nobody here wrote
    hooks        what other projects call hook points
    registry     which SAEs have been published, as sae-lens lists them, and ``models``: for which architectures
    catalog      which of those can be imported here, and why not the others

A file per format: saelens, gemma_scope, sparsify, dictionary_learning, llama_scope, linear.
"""
