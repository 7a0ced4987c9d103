"""Networks: the disentangling model, its parts and its baselines."""

from __future__ import annotations

from typing import Any

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    # Imported on first use: building nothing should load nothing.
    if name == "load_model":
        from devias.weights.infer import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
