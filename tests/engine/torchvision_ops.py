"""Lets vLLM import the image code of multimodal models where torchvision's kernels are for another torch: none runs.

To be called before vLLM is imported.
"""

import importlib.util

import torch

__all__ = ["define"]


def define() -> None:
    """Names the ops that torchvision wants to find when it is imported, if it is installed."""
    if importlib.util.find_spec("torchvision") is not None:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
