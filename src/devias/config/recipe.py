"""What the paper sets per dataset, typed and checked: `conf/recipe/*.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from devias.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Recipe:
    """One column of the paper's table; groups read their values from here.

    Raises:
        ConfigError: A value is of another type or out of its range; the message names its key.
    """

    epochs: int
    """→ `trainer.max_epochs`."""
    slot_iterations: int
    """Rounds of slot attention."""
    fame_beta: float
    """Share of the pixels that FAME takes as foreground."""
    prob_aug: float
    """Probability that mixing gives a clip another background."""
    inpaint: bool
    """Whether the background clip's own actor is replaced by what surrounds it before; not the
    paper's."""
    head_dropout: float
    drop_path: float
    """→ `backbone.drop_path_rate`."""
    min_lr: float
    """Learning rate at the end, per 256 clips of the global batch → `optim.min_lr`."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(Recipe).items():
            value = getattr(self, name)
            if isinstance(value, bool) != (kind is bool) or not isinstance(value, int | kind):
                noun = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
                raise ConfigError(f"recipe.{name} must be {noun}, not {value!r}")
        for name in ("slot_iterations", "epochs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"recipe.{name} must be at least 1, not {getattr(self, name)}")
        for name in ("prob_aug", "fame_beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"recipe.{name} must be from 0 to 1, not {getattr(self, name)}")
        for name in ("head_dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(
                    f"recipe.{name} must be at least 0 and below 1, not {getattr(self, name)}"
                )
        if not 0 <= self.min_lr < float("inf"):
            raise ConfigError(f"recipe.min_lr must be a rate, not {self.min_lr}")

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Recipe:
        """The recipe of a composed configuration.

        Raises:
            ConfigError: A key is missing or unknown, or a value cannot be.
        """
        known = [field.name for field in fields(cls)]
        for key in map(str, settings):
            if key not in known:
                hint = did_you_mean(key, known) or f"; known are {', '.join(known)}"
                raise ConfigError(f"unknown configuration key 'recipe.{key}'{hint}")
        for key in known:
            if key not in settings:
                raise ConfigError(f"recipe.{key} is missing")
        return cls(**{str(key): value for key, value in settings.items()})
