"""Errors as the one sentence that their user is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from devias.config.compose import compose_plain
from devias.config.overrides import near_key
from devias.errors import DeviasError, did_you_mean


def explain(error: Exception) -> str | None:
    """What went wrong in a job, if its user can mend it; `None` of a fault of the program."""
    match error:
        case DeviasError():
            return _without_worker_trace(str(error))
        case MissingMandatoryValue():
            return f"{error.full_key} is not given: {error.full_key}=…"
        case OmegaConfBaseException():
            return _one_line(f"{error.full_key}: {error.msg or error}")
        case FileNotFoundError() if not error.filename:
            return str(error)
        case OSError() if error.filename:
            return f"{error.filename}: {error.strerror}"
        case HydraException():
            return _one_line(str(error))
    return None


def explain_words(error: Exception, config_name: str, words: Sequence[str]) -> str:
    """Why no configuration could be composed of the words, and what was likely meant."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        near = did_you_mean(option, error.options) or ";"
        return f"{group} has no option {option}{near} there are {', '.join(error.options)}"
    if match := re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text):
        key = match[1]
        return f"there is no key {key}{near_key(key, _known(config_name, key, words))}"
    if isinstance(error, OverrideParseException):
        reason = text.removeprefix(f"Error parsing override '{error.override}'").strip()
        return f"{error.override} is not key=value: {reason.splitlines()[0]}"
    if isinstance(error.__cause__, OmegaConfBaseException):
        return _one_line(f"{text}: {error.__cause__.msg}")
    return explain(error) or _one_line(text)


def _known(config_name: str, key: str, words: Sequence[str]) -> DictConfig:
    """The configuration with the groups that the words choose, if these can be chosen."""
    choices = [word for word in words if re.match(rf"(?!{key}=)[\w/]+=[^,]+$", word)]
    try:
        return compose_plain(config_name, choices)
    except HydraException:
        return compose_plain(config_name, [])


def _without_worker_trace(text: str) -> str:
    """The message alone of an error that PyTorch brings from a loader's process with its trace."""
    if not re.match(r"Caught \w+ in DataLoader worker process", text):
        return text
    *_, message = re.split(r"^devias[\w.]*: ", text, flags=re.MULTILINE)
    return message.strip()


def _one_line(text: str) -> str:
    return " ".join(text.split())
