"""Miniatures of datasets in their official layouts: real files, tiny, two actions.

Every builder writes six training and four test videos below a folder.
"""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from helpers import write_text
from media import write_video

ACTIONS = ["jumping rope", "waving"]
TRAIN = [(f"t{number}", number % 2) for number in range(6)]
"""Names and labels."""
TEST = [(f"e{number}", number % 2) for number in range(4)]
LENGTH = 9
"""Frames of a video."""


def video(path: Path) -> None:
    """The clips differ by their size alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width = 36 + 2 * (sum(map(ord, path.stem)) % 5)
    codec = {".avi": "mpeg4", ".webm": "libvpx"}.get(path.suffix, "libx264")
    write_video(path, LENGTH, codec, size=(32, width))


def stills(folder: Path, name: str, first: int, seed: int, mask: bool = False) -> None:
    """Frames as files called `name` from the number `first` on."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(seed)
    for number in range(first, first + LENGTH):
        pixels = noise.integers(0, 256, (24, 32, 3), np.uint8)
        if mask:
            pixels[:] = 0
            pixels[6:18, 8 + seed : 20 + seed] = 255
        Image.fromarray(pixels).save(folder / name.format(number))


def ucf101(root: Path) -> None:
    folders = ["JumpRope", "Waving"]
    lists = root / "ucfTrainTestlist"
    rows = {"train": "", "test": ""}
    write_text(lists / "classInd.txt", "1 JumpRope\r\n2 Waving\r\n")
    for kind, listed in (("train", TRAIN), ("test", TEST)):
        for number, (_, label) in enumerate(listed):
            name = f"v_{folders[label]}_g{number + 10 * (kind == 'test'):02}_c01.avi"
            video(root / "UCF-101" / folders[label] / name)
            rows[kind] += f"{folders[label]}/{name}{f' {label + 1}' * (kind == 'train')}\r\n"
        write_text(lists / f"{kind}list01.txt", rows[kind])


def kinetics400(root: Path) -> None:
    for kind, listed in (("train", TRAIN), ("val", TEST)):
        rows = "label,youtube_id,time_start,time_end,split,is_cc\n"
        for name, label in listed:
            video(root / "videos" / ACTIONS[label] / f"{name}_000001_000011.mp4")
            rows += f"{ACTIONS[label]},{name},1,11,{kind},0\n"
        write_text(root / "annotations" / f"{kind}.csv", rows)


def hvu(root: Path) -> None:
    for kind, listed in (("train", TRAIN), ("val_seen", TEST), ("val_unseen", TEST)):
        rows = ""
        for name, label in listed:
            video(root / "videos" / f"{kind}{name}_0_10.mp4")
            scene = 1 - label if kind == "val_unseen" else label
            rows += f"{kind}{name}_0_10 {label} {scene}\n"
        write_text(root / "annotations" / f"{kind}.csv", rows)


def hmdb51(root: Path) -> None:
    for label, name in enumerate(("jump", "wave")):
        rows = ""
        for use, listed in ((1, TRAIN), (2, TEST)):
            for clip in (clip for clip, own in listed if own == label):
                video(root / "hmdb51_org" / name / f"{clip}_{name}_u_nm_np1_fr_med_0.avi")
                rows += f"{clip}_{name}_u_nm_np1_fr_med_0.avi {use} \n"
        write_text(root / "testTrainMulti_7030_splits" / f"{name}_test_split1.txt", rows)


def diving48(root: Path) -> None:
    for kind, listed in (("train", TRAIN), ("test", TEST)):
        entries = []
        for name, label in listed:
            video(root / "rgb" / f"{name}_00001.mp4")
            entries.append(
                {"vid_name": f"{name}_00001", "label": label, "start_frame": 0, "end_frame": 9}
            )
        write_text(root / "annotations" / f"Diving48_V2_{kind}.json", json.dumps(entries))
    vocabulary = [["Back", "15som", "05Twis", "FREE"], ["Back", "15som", "NoTwis", "PIKE"]]
    write_text(root / "annotations" / "Diving48_vocab.json", json.dumps(vocabulary))


def ssv2(root: Path) -> None:
    templates = ["Closing [something]", "Putting [something] onto [something]"]
    names = [template.replace("[", "").replace("]", "") for template in templates]
    labels = {name: str(label) for label, name in enumerate(names)}
    lists = root / "annotations"
    write_text(lists / "something-something-v2-labels.json", json.dumps(labels))
    for kind, first, listed in (("train", 1, TRAIN), ("validation", 101, TEST)):
        entries = []
        for number, (_, label) in enumerate(listed, first):
            video(root / "20bn-something-something-v2" / f"{number}.webm")
            entry = {"id": str(number), "label": "a cup", "template": templates[label]}
            entries.append(entry | {"placeholders": ["a cup"]})
        write_text(lists / f"something-something-v2-{kind}.json", json.dumps(entries))


def activitynet(root: Path) -> None:
    database = {}
    for subset, listed in (("training", TRAIN), ("validation", TEST)):
        for name, label in listed:
            video(root / "videos" / f"v_{name}.mp4")
            segments = [{"segment": [0.04, 0.3], "label": ACTIONS[label]}]
            database[name] = {"subset": subset, "duration": 0.36, "annotations": segments}
    content = {"version": "VERSION 1.3", "taxonomy": [], "database": database}
    write_text(root / "annotations" / "activity_net.v1-3.min.json", json.dumps(content))


def folder(root: Path) -> None:
    for split, listed in (("train", TRAIN), ("test", TEST)):
        for name, label in listed:
            video(root / split / ACTIONS[label] / f"{name}.mp4")


def scuba(root: Path, source: str = "ucf101") -> None:
    for version in ("places", "vqgan", "sinusoidal"):
        for seed, (name, _) in enumerate(TEST):
            stills(root / f"{source}-{version}" / f"v_{name}__0", "frame{:06}.jpg", 1, seed)
    rows = "".join(f"v_{name}__0 {LENGTH} {label}\n" for name, label in TEST)
    write_text(root / "annotations" / source / "test.csv", rows)


def hat(root: Path, source: str = "ucf101") -> None:
    names, videos = ["JumpRope", "Waving"], []
    for seed, (name, label) in enumerate(TEST):
        videos.append(clip := f"{names[label]}/v_{name}")
        stills(root / source / "rawframes" / clip, "image_{:05}.jpg", 1, seed)
        stills(root / source / "inpaint" / clip, "img_{:05}.jpg", 0, 9 - seed)
        stills(root / source / "seg" / clip, "img_{:05}.png", 0, seed, mask=True)
    lists = root / "annotations" / source
    write_text(lists / "labels.csv", "".join(f"{i},{name}\n" for i, name in enumerate(names)))
    rows = [f"{clip} {LENGTH} {label}\n" for clip, (_, label) in zip(videos, TEST, strict=True)]
    write_text(lists / "list.csv", "".join(rows))
    for shift, kind in enumerate(("far", "rand", "close"), 1):
        behind = videos[shift:] + videos[:shift]
        pairs = {a: [b, str(LENGTH), "0"] for a, b in zip(videos, behind, strict=True)}
        for number in (1, 2, 3):
            path = lists / kind / f"actionswap_{kind}_{number}.pickle"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(pickle.dumps(pairs))


BUILDERS: dict[str, Callable[[Path], None]] = {
    builder.__name__: builder
    for builder in (ucf101, kinetics400, hvu, hmdb51, diving48, ssv2, activitynet, folder)
}
"""Of the datasets that models are trained on."""
