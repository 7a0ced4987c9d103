"""A stored configuration is data: nothing of it runs, asks the reader's machine, or explodes."""

import contextlib
import time
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from devias.config import compose, config_dir
from devias.config.instantiate import instantiate, is_trusted
from devias.config.stored import parse_config, rebuild_config
from devias.errors import ConfigError

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20).filter(
        lambda t: "$" not in t
    ),
    st.sampled_from(["1e-6", "on", "2020-01-01", "0x1f", "1_000", "~", "", "null", "a: b", "- c"]),
)


def target(name, **settings):
    return {"_target_": name, **settings}


@pytest.mark.parametrize("name", ["synthetic", "ucf101", "scene_model", "synthetic_pretrain"])
def test_every_configuration_of_ours_is_rebuilt_as_it_was(name):
    config = compose(f"experiment={name}")
    assert rebuild_config(OmegaConf.to_yaml(config)) == config


@given(values=st.lists(SCALARS, max_size=5))
def test_values_come_back_as_they_were(values):
    assert parse_config(OmegaConf.to_yaml({"a": {"b": values}})) == {"a": {"b": values}}


FOREIGN = [
    "shutil.copyfile",
    "torch.load",
    "pathlib.Path.touch",
    "sympy.sympify",
    "os.system",
    "builtins.eval",
    "hydra.utils.get_method",
    "hydra.utils.get_class",
    "hydra.utils.get_object",
    "hydra.utils.call",
    "hydra.utils.instantiate",
    "devias.files.write_text",
    "devias.files.os.system",
    "devias.files.Path",
    "devias.config.compose",
    "devias.training.run.build_run",
    "devias.reporting.results.RunResult.load",
    "devias.reporting.results.RunResult.__init__",
    "devias.config.__builtins__",
    "devias.cli.train.main",
    "devias",
    "devias..x",
    "lightning.Trainer.fit",
    "",
    "${paths.runs}",
]


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize(
    "place",
    [
        lambda evil: {"callbacks": {"x": evil}},
        lambda evil: {"a": [[1, {"b": evil}]]},
        lambda evil: {"a": target("functools.partial", _args_=[evil])},
        lambda evil: {"a": target("lightning.Trainer", callbacks=[{**evil, "_partial_": True}])},
    ],
)
def test_what_is_not_on_the_list_is_refused_by_name(name, place):
    text = yaml.safe_dump(place(target(name, _args_=["a", "b"])) | {"paths": {"runs": "r"}})
    with pytest.raises(ConfigError, match=r"trust=true") as caught:
        rebuild_config(text)
    assert name in str(caught.value)
    if "$" not in name:
        rebuild_config(text, trust=True)


@pytest.mark.parametrize("name", [None, 3, ["os.system"], {"a": 1}])
def test_a_target_that_is_no_name_is_refused(name):
    with pytest.raises(ConfigError, match="trust=true"):
        rebuild_config(yaml.safe_dump({"a": target(name)}))


def test_what_the_shipped_configurations_build_is_on_the_list():
    trusted = ("devias.config.nothing", "devias.weights.infer.load_model", "lightning.Trainer")
    classes = ("devias.models.devias.DEVIAS", "devias.training.callbacks.SeedEveryEpoch")
    for name in (*trusted, *classes, "functools.partial"):
        assert is_trusted(name), name


def test_nothing_foreign_is_imported(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("open('ran', 'w')\nclass X: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"planted\.X"):
        rebuild_config(yaml.safe_dump({"a": target("planted.X")}))
    assert not Path("ran").exists()


def test_a_class_of_the_user_needs_trust_unless_it_is_typed_now():
    stored = yaml.safe_dump({"callbacks": {"mine": target("helpers.CrashAt")}})
    with pytest.raises(ConfigError, match=r"helpers\.CrashAt is not of this package"):
        rebuild_config(stored)
    assert rebuild_config(stored, trust=True).callbacks.mine._target_ == "helpers.CrashAt"
    assert rebuild_config(stored, ["~callbacks.mine"]).callbacks == {}
    typed = rebuild_config(
        yaml.safe_dump({"callbacks": {}}), ["+callbacks.x._target_=fractions.Fraction"]
    )
    assert instantiate(typed.callbacks.x) == 0


@pytest.mark.parametrize(
    "planted",
    [
        {"names": {"model": "${oc.env:SECRET}"}},
        {"names": {"model": "x ${oc.env:SECRET,y} z"}},
        {"names": ["${oc.decode:${oc.env:SECRET}}"]},
        {"names": {"model": "\\${oc.env:SECRET}"}},  # resolving twice would wake it
        {"names": {"model": "${${a}:SECRET}"}, "a": "oc.env"},
        {"names": {"model": "${a}{oc.env:SECRET}"}, "a": "$"},
        {"names": {"model": "${a}${b}"}, "a": "x$", "b": "{oc.env:SECRET}"},
        {"names": {"model": "$${b}"}, "b": "{oc.env:SECRET}"},
        {"names": {"model": "x${a}"}, "a": {"${oc.env:SECRET}": 1}},
        {"names": {"model": "${mask_size:${oc.env:SECRET},1}"}},
        {"names": {"model": "${hydra:runtime.cwd}"}},
        {"names": {"model": "${now:%Y}"}},
        {"names": {"model": "${run_name:}"}},
        {"names": {"model": "${oc.select:a}"}, "a": 1},
        {"names": {"model": "${.other}", "other": 1}},
        {"names": {"model": "a\0b"}},
    ],
)
def test_an_interpolation_that_asks_for_more_is_refused(planted, monkeypatch):
    monkeypatch.setenv("SECRET", "leaked")
    text = yaml.safe_dump(planted)
    for trust in (False, True):
        with pytest.raises(ConfigError, match="asks for more than other keys") as caught:
            rebuild_config(text, trust=trust)
        assert "leaked" not in str(caught.value)
    if "model" in planted["names"] and "a" not in planted:
        assert rebuild_config(text, ["names.model=x"]).names.model == "x"


def test_plain_interpolations_stay_alive(monkeypatch):
    stored = {
        "paths": {"datasets": "d"},
        "data": {"root": "${paths.datasets}/x", "price": "5$ each"},
        "size": "${mask_size:${image}, 8}",
        "image": 48,
    }
    config = rebuild_config(yaml.safe_dump(stored), ["paths.datasets=/e", "image=64"])
    assert (config.data.root, config.size, config.data.price) == ("/e/x", 64, "5$ each")
    monkeypatch.setenv("MINE", "m")
    assert rebuild_config("a: 1", ["a=${oc.env:MINE}"]).a == "m"


def bomb(depth=30):
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth)]
    return "\n".join(["a0: &a0 [lol]", *levels])


def chain(make, depth=18):
    return "\n".join([*(make(i) for i in range(depth)), f"a{depth}: {{x: lol}}"])


BOMBS = {
    "aliases": (bomb(), "YAML anchor"),
    "anchor alone": ("a: &x 1", "YAML anchor"),
    "texts": (
        chain(lambda i: f"a{i}: '{f'${{a{i + 1}.x}}' * 9}'").replace(".x}", "}"),
        "grows huge",
    ),
    "parts": (
        chain(lambda i: f"a{i}: {{x: '${{a{i + 1}}}', y: '${{a{i + 1}}}', z: '${{a{i + 1}}}'}}"),
        "grows huge",
    ),
    "long chain": (chain(lambda i: f"a{i}: '${{a{i + 1}}}'", 500), "too far"),
    "circle": ("a: ${b}\nb: ${a}", "leads back to itself"),
    "circle above": ("a: {b: '${a}'}", "leads back to itself"),
    "circle through": ("a: ${b}\nb: ${a}\nc: ${a.x}", "leads back to itself"),
    "nested": ("a: " + "[" * 20_000, "nested more than|flow level"),
    "nested blocks": ("\n".join(" " * i + "a:" for i in range(300)), "nested more than"),
    "huge": ("a: [" + "1, " * 5_000_000 + "]", "too many"),
    "digits": ("a: " + "9" * 9_000, "no plain YAML"),
    "scalar": ("a: " + "1:" * 30_000, "a value of"),
    "python": ("a: !!python/object/apply:os.mkdir [ran]", "no plain YAML"),
    "dates": ("a: 2020-01-01", "a date"),
    "bytes": ("a: !!binary aGk=", "a bytes"),
    "set": ("a: !!set {x}", "a set"),
    "no mapping": ("[1]", "no mapping"),
    "empty": ("", "no mapping"),
    "broken": ("a: [", "no plain YAML"),
    "nothing there": ("a: ${b.c}", "does not resolve"),
    "no size": ("a: ${mask_size:8,0}", "does not resolve"),
    "no text": (b"a: 1", "is a bytes, not text"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_would_grow_or_is_no_configuration_is_refused_at_once(kind):
    text, why = BOMBS[kind]
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(ConfigError, match=why) as caught:
            rebuild_config(text)
        assert time.perf_counter() - start < 3
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1500


@given(text=st.text() | st.text("a:{}[]&*!$ \n-'\"", max_size=60))
def test_any_text_is_a_configuration_or_refused(text):
    with contextlib.suppress(ConfigError):
        assert OmegaConf.is_dict(rebuild_config(text))


def test_the_shipped_groups_can_be_chosen_for_a_stored_run():
    stored = OmegaConf.to_yaml(compose("experiment=synthetic"))
    assert rebuild_config(stored, ["trainer=gpus"]).trainer.accelerator == "gpu"
    assert Path(config_dir(), "trainer", "gpus.yaml").exists()
