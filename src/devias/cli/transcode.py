"""Make smaller copies of videos that decode faster.

    devias transcode videos=/data/ucf101/UCF-101 output=/data/ucf101_256
    devias transcode videos=FOLDER output=FOLDER coding.short_side=320 num_workers=16
    devias train experiment=ucf101 data.videos=/data/ucf101_256 data.suffix=.mp4

Copies are H.264 in .mp4 at the same places as their sources, with all frames at their times, a
short side of 256 pixels and a key frame every 12 frames, without sound. Each is decoded again and
compared with its source before it takes its name. A run that was stopped goes on. Writes
transcode.csv, and prints what size and time of reading a clip were before and after. A video that
cannot be copied is told and does not end the work; the exit code is 1 then.
"""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig

from devias.cli.command import command

TIMED = 32
"""Videos of which the time to read is measured."""


@command("transcode")
def main(config: DictConfig) -> None:
    """Copy, and say what came of it."""
    if not transcode(config):
        sys.exit(1)


def transcode(config: DictConfig) -> bool:
    """Copy all videos below `config.videos`; returns whether all could be.

    Raises:
        ConfigError: there are no videos, or the output is not for these copies.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import track

    from devias.cli.masks import video_files
    from devias.config.instantiate import instantiate
    from devias.data.transcode import milliseconds_per_clip, transcode_folder
    from devias.files import write_text
    from devias.reporting.text_tables import csv_table

    videos, output = Path(config.videos), Path(config.output)
    paths = video_files(videos)
    coding = instantiate(config.coding)
    console = Console(highlight=False, soft_wrap=True)
    work = transcode_folder(videos, output, paths, coding, config.num_workers)
    copies = list(track(work, "Transcoding", total=len(paths)))
    failed = [copy for copy in copies if copy.error]
    for copy in failed:
        console.print(f"[bold]not copied[/] {escape(str(copy.source))}: {escape(copy.error)}")
    titles = ["video", "bytes_before", "bytes_after", "error"]
    rows = [
        [copy.source.relative_to(videos), copy.bytes_before, copy.bytes_after, copy.error]
        for copy in copies
    ]
    write_text(output / "transcode.csv", csv_table(titles, rows))
    done = [copy for copy in copies if not copy.error]
    some = done[:: max(1, len(done) // TIMED)][:TIMED]
    before, after = (sum(getattr(c, f"bytes_{when}") for c in done) for when in ("before", "after"))
    slow, fast = (
        milliseconds_per_clip(getattr(copy, which) for copy in some)
        for which in ("source", "target")
    )
    found = sum(not copy.made for copy in done)
    console.print(
        f"{len(done) - found} copied, {found} were there, {len(failed)} failed\n"
        f"size {before / 1e6:.1f} MB → {after / 1e6:.1f} MB\n"
        f"a clip of 16 frames {slow:.1f} ms → {fast:.1f} ms (mean of {len(some)} videos)"
    )
    return not failed


if __name__ == "__main__":
    main()
