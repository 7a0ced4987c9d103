"""The configuration: composed, named, checked, stored, and made into objects."""

from devias.config.compose import compose, nothing
from devias.config.shipped import config_dir

__all__ = ["compose", "config_dir", "nothing"]
