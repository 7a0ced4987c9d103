"""What `CONTRIBUTING.md` shows is added exactly as it says, and trains."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from devias.config import config_dir
from helpers import write_frames

PAGE = (Path(config_dir()).parent / "CONTRIBUTING.md").read_text()
LONGEST = 20
PLACES = {
    "dataset": "my_videos.py",
    "data config": "conf/data/my_videos.yaml",
    "protocol config": "conf/protocol/my_videos.yaml",
    "loss": "my_losses.py",
    "model": "my_models.py",
    "model config": "conf/model/mean_of_tokens.yaml",
    "experiment": "conf/experiment/my_experiment.yaml",
}
SMALL = (
    "scene_teacher=none",
    "backbone.weights=null",
    "backbone.embed_dim=24",
    "backbone.depth=1",
    "backbone.num_heads=2",
    "data.image_size=32",
    "data.clip_length=4",
    "data.num_workers=0",
    "data.num_scenes=2",
    "global_batch=2",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "trainer.enable_progress_bar=false",
    "logger=csv",
    "trainer.log_every_n_steps=1",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Somebody's folder with all of the page's blocks and four videos."""
    folder = tmp_path_factory.mktemp("project")
    blocks = re.findall(r"<!-- (.+?) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert {name for name, _ in blocks} == set(PLACES)
    for name, text in blocks:
        path = folder / PLACES[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    videos = folder / "datasets" / "my_videos" / "videos"
    videos.mkdir(parents=True)
    for number in range(4):
        frames = np.random.default_rng(number).integers(0, 255, (9, 36, 40, 3), np.uint8)
        write_frames(videos / f"{number}.mp4", list(frames))
    for split, numbers in (("train", (0, 1)), ("test", (2, 3))):
        rows = [f"{number}.mp4 {number % 2}\n" for number in numbers]
        (videos.parent / f"{split}.txt").write_text("".join(rows))
    return folder


def run(project: Path, name: str, *overrides: str) -> dict:
    """The result of a training with the page's own words."""
    program = [sys.executable, "-m", "devias.train", "-cd", "conf"]
    words = [*SMALL, f"paths.datasets={project / 'datasets'}", f"paths.run_dir={project / name}"]
    subprocess.run(
        [*program, *overrides, *words],
        cwd=project,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads((project / name / "result.json").read_text())


def test_everything_is_short():
    for name, text in re.findall(r"<!-- (.+?) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL):
        lines = [line for line in text.splitlines() if line.strip()]
        assert len(lines) <= LONGEST, name


def test_a_dataset_and_an_experiment(project):
    result = run(project, "devias", "experiment=my_experiment", "masks.crop_size=32")
    assert (result["data"], result["protocol"]) == ("my_videos", "my_videos")
    assert result["metrics"]["seen/action_top1"] in (0, 0.5, 1)


def test_a_model_and_a_loss_term(project):
    term = "+loss.slot_norm={_target_: my_losses.SlotNorm, weight: 0.1}"
    data = ("data=my_videos", "protocol=my_videos", "masks.crop_size=32")
    run(project, "mine", "model=mean_of_tokens", *data, term)
    (metrics,) = (project / "mine" / "metrics").rglob("metrics.csv")
    assert "loss/slot_norm" in metrics.read_text()
