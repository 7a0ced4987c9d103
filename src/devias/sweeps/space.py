"""Search spaces as files: which overrides are varied, and in what range."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from devias.config import config_dir
from devias.config.overrides import as_value
from devias.errors import DeviasError, did_you_mean

KINDS = ("float", "int", "choice")
Value = float | int | str | bool | None
"""What an override may be set to."""

OF_THE_SEARCH = ("names.model", "paths.run_dir", "ckpt_path", "test", "train")
"""What a search itself sets for each trial."""


class SpaceError(DeviasError, ValueError):
    """A search space is wrong; names its file and key."""


@dataclass(frozen=True)
class Parameter:
    """One override and the values it may take."""

    key: str
    kind: str
    """One of `KINDS`."""
    choices: tuple[Value, ...] = ()
    """Of a choice."""
    low: float = 0.0
    high: float = 0.0
    """Both included."""
    step: float | None = None
    """Values are so far apart; always set for whole numbers that are not on a logarithmic scale."""
    log: bool = False
    """Whether equal ratios, not equal differences, are equally far apart."""

    def grid(self) -> list[Value]:
        """All values.

        Raises:
            SpaceError: there is no end of them.
        """
        if self.kind == "choice":
            return [*self.choices]
        step = 1 if self.kind == "int" and self.step is None else self.step
        if step is None:
            raise SpaceError(f"a grid needs a step, or choices, for {self.key}")
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        values = [self.low + place * step for place in range(count)]
        return [int(value) if self.kind == "int" else round(value, 12) for value in values]

    def tidy(self, value: Value) -> Value:
        """The value that is used: one of sixteen digits reads badly and means no more."""
        if isinstance(value, float):
            return float(f"{value:.12g}" if self.step else f"{value:.4g}")
        return value

    def override(self, value: Value) -> str:
        """The word of `devias train` that sets it."""
        if value is None or isinstance(value, bool):
            text = {None: "null", True: "true", False: "false"}[value]
        else:
            text = as_value(value) if isinstance(value, str) else repr(value)
        return f"{self.key}={text}"


@dataclass(frozen=True)
class Space:
    """What a file declares."""

    name: str
    base: tuple[str, ...]
    """Overrides of what is trained, in the search and afterwards."""
    trials: tuple[str, ...]
    """Further ones of the trials alone, such as fewer epochs."""
    parameters: tuple[Parameter, ...]

    def overrides(self, values: Mapping[str, Value]) -> list[str]:
        """The words that set the parameters to some values."""
        return [parameter.override(values[parameter.key]) for parameter in self.parameters]

    def corners(self) -> Iterator[dict[str, Value]]:
        """Values of which each override can be tried: the ends of ranges, and every choice."""
        ends = [
            parameter.grid() if parameter.kind == "choice" else [parameter.low, parameter.high]
            for parameter in self.parameters
        ]
        for place in range(max(map(len, ends))):
            yield {
                parameter.key: values[min(place, len(values) - 1)]
                for parameter, values in zip(self.parameters, ends, strict=True)
            }

    def grid(self) -> Iterator[dict[str, Value]]:
        """All combinations.

        Raises:
            SpaceError: there is no end of them.
        """
        values = [parameter.grid() for parameter in self.parameters]
        for combination in itertools.product(*values):
            keys = (parameter.key for parameter in self.parameters)
            yield dict(zip(keys, combination, strict=True))


def read_space(source: str) -> Space:
    """Read a search space.

    Args:
        source: an option of `conf/hparams_search`, or the path of a file like those.

    Raises:
        SpaceError: there is no such option, or what the file holds is no space.
        FileNotFoundError: there is no such file.
    """
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        folder = Path(config_dir()) / "hparams_search"
        known = sorted(path.stem for path in folder.glob("*.yaml"))
        if source not in known:
            near = did_you_mean(source, known) or ";"
            raise SpaceError(f"there is no space {source!r}{near} there are {', '.join(known)}")
        path = folder / f"{source}.yaml"
    try:
        loaded = OmegaConf.load(path)
        content: Any = OmegaConf.to_container(loaded)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise SpaceError(f"{path}: {' '.join(str(error).split())}") from error
    try:
        return _space(path.stem, content)
    except SpaceError as error:
        raise SpaceError(f"{path}: {error}") from error


def _space(name: str, content: Any) -> Space:
    _check_keys(content, ("base", "trials", "parameters"), "the file")
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise SpaceError("parameters must map overrides to what they may be")
    return Space(
        name,
        _words(content, "base"),
        _words(content, "trials"),
        tuple(_parameter(str(key), value) for key, value in parameters.items()),
    )


def _words(content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Overrides in one text, between blanks, or in a list."""
    value = content.get(key) or []
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise SpaceError(f"{key} must be overrides such as experiment=synthetic, not {value!r}")
    return tuple(words)


def _parameter(key: str, content: Any) -> Parameter:
    try:
        OverridesParser.create().parse_override(f"{key}=0")
    except HydraException as error:
        raise SpaceError(f"parameters: {key!r} is no key that can be overridden") from error
    if key in OF_THE_SEARCH:
        raise SpaceError(f"parameters: {key} is set by the search itself")
    where = f"parameters.{key}"
    _check_keys(content, (*KINDS, "log", "step"), where)
    kinds = [kind for kind in KINDS if kind in content]
    if len(kinds) != 1:
        raise SpaceError(f"{where} must have one of {', '.join(KINDS)}")
    (kind,) = kinds
    values = content[kind]
    if kind == "choice":
        return _choice(where, key, content, values)
    numbers = (int,) if kind == "int" else (int, float)
    match values:
        case [low, high] if all(_is_number(v, numbers) for v in values) and low < high:
            pass
        case _:
            raise SpaceError(f"{where}.{kind} must be two numbers, lower and higher")
    log, step = content.get("log", False), content.get("step")
    if not isinstance(log, bool):
        raise SpaceError(f"{where}.log must be true or false, not {log!r}")
    if step is not None and (log or not _is_number(step, numbers) or step <= 0):
        raise SpaceError(f"{where}.step must be a number above 0, and none where log is true")
    if log and low <= 0:
        raise SpaceError(f"{where}: a logarithmic range must be above 0")
    if kind == "float":
        low, high = float(low), float(high)
    return Parameter(key, kind, low=low, high=high, step=step, log=log)


def _choice(where: str, key: str, content: Mapping[str, Any], values: Any) -> Parameter:
    plain = isinstance(values, list) and all(
        value is None or isinstance(value, str | int | float | bool) for value in values
    )
    if not plain or len({repr(value) for value in values}) < max(len(values), 2):
        raise SpaceError(f"{where}.choice must be a list of different values, two or more")
    if len(content) > 1:
        raise SpaceError(f"{where}: a choice has neither log nor step")
    return Parameter(key, "choice", choices=tuple(values))


def _is_number(value: Any, kinds: tuple[type, ...]) -> bool:
    return type(value) in kinds and math.isfinite(value)


def _check_keys(content: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(content, dict):
        raise SpaceError(f"{where} must map {', '.join(known)}, not be {content!r}")
    for key in map(str, content):
        if key not in known:
            near = did_you_mean(key, known) or f"; known are {', '.join(known)}"
            raise SpaceError(f"{where}: unknown key {key!r}{near}")
