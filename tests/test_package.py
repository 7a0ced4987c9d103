"""The programs start from any folder, from the repository as from an installed wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

REPOSITORY = Path(__file__).resolve().parents[1]


def run_python(*arguments, cwd, **variables):
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_program_prints_its_configuration_from_any_folder(tmp_path):
    run = run_python("-m", "devias.train", "--cfg", "job", "experiment=synthetic", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    config = OmegaConf.create(run.stdout)
    assert config.model._target_ == "devias.models.devias.DEVIAS"
    assert config.data._target_ == "devias.data.datasets.synthetic.datamodule.Synthetic"
    assert not list(tmp_path.iterdir())


def test_a_misspelt_key_ends_the_program_with_its_name(tmp_path):
    run = run_python("-m", "devias.train", "optim.bse_lr=1", cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr == "there is no key optim.bse_lr; did you mean optim.base_lr?\n"


def test_a_missing_key_ends_the_program_with_its_name(tmp_path):
    run = run_python("-m", "devias.evaluate", cwd=tmp_path)
    assert run.returncode == 1
    assert "checkpoint is not given: checkpoint=…" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr
    assert not list(tmp_path.iterdir())


def test_an_unreadable_checkpoint_ends_the_evaluation_with_its_name(tmp_path):
    page = tmp_path / "page=1.ckpt"
    page.write_text("<html></html>")
    run = run_python("-m", "devias.evaluate", f"checkpoint={page}", "data.root=x", cwd=tmp_path)
    assert run.returncode == 1
    assert f"{page} is not a readable checkpoint" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr
    assert list(tmp_path.iterdir()) == [page]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, unpacked."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY))
    run = run_python(*build, cwd=folder)
    assert run.returncode == 0, run.stdout + run.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def files(folder, *patterns):
    return {str(path.relative_to(folder)) for p in patterns for path in folder.rglob(p)}


def test_the_wheel_holds_every_module_template_configuration_and_weight_file(wheel):
    package = REPOSITORY / "src" / "devias"
    wanted = files(package, "*.py", "*.j2", "*.safetensors", "py.typed")
    configs = {f"conf/{name}" for name in files(REPOSITORY / "conf", "*.*")}
    assert files(wheel / "devias", "*.*") == wanted | configs
    assert {path.name.partition("-")[0] for path in wheel.iterdir()} == {
        "devias",
        "hydra_plugins",
    }
    plugins = files(REPOSITORY / "src" / "hydra_plugins", "*.py")
    assert plugins
    assert files(wheel / "hydra_plugins", "*.*") == plugins


def test_an_installed_wheel_finds_its_own_configurations(wheel, tmp_path):
    run = run_python(
        "-c",
        "from devias.config import config_dir; print(config_dir())",
        cwd=tmp_path,
        PYTHONPATH=wheel,
    )
    assert run.stdout.strip() == str(wheel / "devias" / "conf")
    run = run_python("-m", "devias.train", "--cfg", "job", cwd=tmp_path, PYTHONPATH=wheel)
    assert run.returncode == 0, run.stderr
    assert OmegaConf.create(run.stdout).data.num_actions == 8
