"""DEVIAS: disentangled action and scene representations of video."""

__version__ = "0.1.0"
