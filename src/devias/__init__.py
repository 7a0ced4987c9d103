"""DEVIAS: disentangled action and scene representations of video."""

from __future__ import annotations

from typing import Any

__version__ = "0.2.0"

__all__ = ["__version__", "load_model"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import devias` stays light.
    if name == "load_model":
        from devias.weights.infer import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
