"""`devias <command> …`: the commands of the program, one file each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "train": "train a model and test it",
    "evaluate": "test a trained model again, perhaps on other data or views",
    "check": "look for what is wrong with a dataset",
    "features": "write the representations of a dataset's videos",
    "knn": "measure what either representation tells of either label",
    "errors": "the mistakes that a model is most sure of, with their frames",
    "dashboard": "a workspace and a report for the runs of a W&B project",
    "export": "write a model's weights for others",
    "labels": "make a dataset's masks and scene labels once",
    "masks": "compare mask extractors",
    "report": "a table and a figure of many runs",
    "search": "search for better settings, by validation",
    "tables": "train what is missing of a table, or show it",
    "transcode": "make smaller copies of videos that decode faster",
}
"""The files of this folder that are commands, and what each does."""


def main(words: Sequence[str] | None = None) -> None:
    """Run the command that the first word names with the words behind it."""
    from devias import __version__
    from devias.cli.completion import FLAGS, complete
    from devias.errors import did_you_mean
    from devias.training.ranks import end_with_launcher, take_pauses

    end_with_launcher()
    take_pauses()
    name, *rest = (sys.argv[1:] if words is None else words) or ["--help"]
    if name in COMMANDS:
        # A user's own classes are found in the working directory, as with `python -m devias.train`.
        sys.path.insert(0, "")
        import_module(f"devias.cli.{name}").main(rest)
    elif name in ("-h", "--help"):
        listed = "".join(f"  {command:10}{does}\n" for command, does in COMMANDS.items())
        print(f"devias <command> [key=value …]\n\n{listed}\n`devias <command> --help` says more.")
    elif name in FLAGS:
        complete(COMMANDS, " ".join(rest))
    elif name in ("-V", "--version"):
        print(f"devias {__version__}")
    else:
        near = did_you_mean(name, COMMANDS) or ";"
        sys.exit(f"devias has no command {name}{near} there are {', '.join(COMMANDS)}")
