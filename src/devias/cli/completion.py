"""Completion of commands, keys and options on the tab key, by Hydra's own scripts for shells.

eval "$(devias -sc install=bash)"           # also in zsh, after bashcompinit
devias -sc install=fish | source
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from importlib import import_module

FLAGS = ("-sc", "--shell-completion")


def complete(commands: Iterable[str], request: str) -> None:
    """Print what a shell asks for.

    Args:
        commands: of the program.
        request: `install=SHELL`, `uninstall=SHELL`, or `query=SHELL` with the line typed so far in
            `COMP_LINE`, as the installed script calls.
    """
    if not re.fullmatch(r"(install|uninstall|query)=\w+", request):
        sys.exit("say for which shell: devias -sc install=bash, or uninstall=fish")
    command = "train"  # any will do to make a script
    if request.startswith("query="):
        line = os.environ.get("COMP_LINE", "")
        program, *words = line.split() or ["devias"]
        if line.endswith(" "):  # another word begins
            words.append("")
        command, *rest = words or [""]
        if not rest:  # the cursor is still in the command
            print(" ".join(name for name in commands if name.startswith(command)))
            return
        if command not in commands:
            return
        os.environ["COMP_LINE"] = " ".join([program, *rest])  # Hydra knows nothing of commands
    import_module(f"devias.cli.{command}").main(["-sc", request])
