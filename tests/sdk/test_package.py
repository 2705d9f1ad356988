"""What ``import featurehub`` gives, and what it costs."""

import subprocess
import sys
from pathlib import Path

import featurehub
import featurehub.sdk

HEAVY = ("torch", "vllm", "fastapi", "sqlalchemy", "numpy", "transformers", "starlette", "uvicorn")


def test_the_public_names() -> None:
    assert set(featurehub.__all__) == {
        "AmbiguousFeature", "AsyncClient", "Client", "Edit", "Feature", "FeatureGroup", "FeatureList",
        "FeatureNotFound",
        "FeaturehubError", "InvalidEdit", "InvalidInput", "NotFound", "Variant", "VariantNotFound",
        "report_of",
    }  # fmt: skip
    assert set(featurehub.sdk.__all__) == {
        "Activations", "AsyncClient", "Attribution", "Autoconditional", "Autosteer", "Client", "Contrast",
        "FeatureList", "Inspection", "Logits", "Report", "Snapshot", "Variant", "report_of",
    }  # fmt: skip
    for package in (featurehub, featurehub.sdk):
        assert list(package.__all__) == sorted(package.__all__)
        assert all(hasattr(package, name) for name in package.__all__)


def test_docstrings_are_short_enough_to_read() -> None:
    for package in (featurehub, featurehub.sdk):
        assert 3 <= len((package.__doc__ or "").splitlines()) <= 30


def test_type_checkers_read_its_types() -> None:
    assert (Path(featurehub.__file__).parent / "py.typed").is_file()


def test_import_is_light() -> None:
    code = f"import sys, featurehub; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
