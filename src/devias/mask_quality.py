"""`python -m devias.mask_quality`, which is `devias masks`, with the options it has had before."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from devias.cli.masks import main


def as_overrides(words: Sequence[str] | None = None) -> list[str]:
    """The words of the old command line as those of `devias masks`."""
    parser = argparse.ArgumentParser(description="Compare human-mask extractors.")
    parser.add_argument("extractors", nargs="*", help="name[:key=value,…] from conf/masks")
    for key in ("split", "clips", "videos", "experiment", "device", "output"):
        parser.add_argument(f"--{key}", help=f"`{key}=…` of `devias masks`")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other words")
    given = vars(parser.parse_args(words))
    extractors, others = given.pop("extractors"), given.pop("set")
    keys = [f"{key}={value}" for key, value in given.items() if value is not None]
    return [*extractors, *keys, *others]


if __name__ == "__main__":
    main(as_overrides())
