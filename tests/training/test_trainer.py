import inspect
from datetime import timedelta
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, Timer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.precision import MixedPrecision
from omegaconf import OmegaConf, open_dict

from devias.config import compose, config_dir
from devias.config.stored import rebuild_config
from devias.errors import ConfigError
from devias.training.checkpoint_io import AtomicCheckpointIO
from devias.training.optim import OptimizerSettings, cosine_with_warmup
from devias.training.run import build_run, build_trainer
from helpers import tiny_run
from stub_parts import Constant, clips, loader, stub_module, stub_trainer

BATCH = clips([(0, 0), (1, 1)], [(0, 0), (1, 1)])


def trainer_of(tmp_path, *overrides):
    return build_trainer(tiny_run(tmp_path, *overrides))


def test_every_argument_of_the_trainer_is_a_key():
    keys = OmegaConf.load(Path(config_dir()) / "trainer" / "_lightning.yaml")
    assert set(inspect.signature(L.Trainer).parameters) <= set(keys)
    assert {name for name, value in keys.items() if value is not None} == {"_target_"}


def test_arguments_left_null_are_lightnings_own(tmp_path):
    trainer = trainer_of(tmp_path)
    assert (trainer.max_steps, trainer.limit_val_batches, trainer.num_nodes) == (-1, 1.0, 1)
    assert trainer.default_root_dir == str(tmp_path / "run")
    trainer = trainer_of(tmp_path, "trainer.max_steps=7", "trainer.limit_train_batches=4")
    assert (trainer.max_steps, trainer.limit_train_batches) == (7, 4)


def test_where_to_train_is_chosen_over_the_experiment():
    config = compose("experiment=synthetic").trainer
    assert (config.accelerator, config.devices) == ("cpu", 1)
    config = compose("experiment=synthetic", "trainer=gpus").trainer
    assert (config.accelerator, config.devices, config.precision) == ("gpu", "auto", "bf16-mixed")
    assert (config.max_epochs, config.gradient_clip_val) == (6, 1.0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.precision=bf16-true", "precision=bf16-true is not supported: choose one of 32"),
        ("trainer.precision=16-true", "precision=16-true is not supported"),
        ("trainer.precision=64-true", "precision=64-true is not supported"),
        ("trainer.precision=transformer-engine", "trainer: .*transformer_engine"),
        ("trainer.precision=8", "trainer: Precision 8 is invalid"),
        ("trainer.strategy=ddp_spawn", "spawned or forked.*choose ddp"),
        ("trainer.strategy=ddp_fork", "spawned or forked"),
        ("trainer.strategy=ddp_notebook_find_unused_parameters_true", "spawned or forked"),
        ("trainer.strategy=fsdp", "trainer: .*GPU"),
        ("trainer.strategy=dp", "invalid strategy name"),
        ("trainer.max_epochs=-1", "set trainer.max_epochs or trainer.max_steps"),
        ("trainer.max_epochs=null", "set trainer.max_epochs or trainer.max_steps"),
        (
            "trainer.max_epochs=null trainer.max_time=00:00:01:00",
            "max_time may end training before",
        ),
        ("trainer.use_distributed_sampler=true", "use_distributed_sampler must be false"),
        ("trainer.limit_val_batches=-2", "invalid value -2 for limit_val_batches"),
        ("trainer.max_time=soon", "not a valid duration"),
        ("trainer.barebones=true", "barebones=True"),
    ],
)
def test_what_cannot_be_is_refused_at_once_in_one_sentence(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        trainer_of(tmp_path, *override.split())


def test_an_argument_that_the_trainer_lacks_is_named(tmp_path):
    config = tiny_run(tmp_path)
    with open_dict(config):
        config.trainer.max_epoch = 3
    with pytest.raises(ConfigError, match=r"trainer: .*max_epoch"):
        build_trainer(config)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16", "16-mixed"])
def test_supported_precisions(tmp_path, precision):
    assert trainer_of(tmp_path, f"trainer.precision={precision}").precision in (
        "32-true",
        "bf16-mixed",  # 16-mixed as well: Lightning's choice on a CPU
    )


def test_callbacks_loggers_and_plugins_are_added_to_ours(tmp_path):
    trainer = trainer_of(
        tmp_path,
        "trainer.callbacks=[{_target_:lightning.pytorch.callbacks.Timer,duration:null}]",
        "trainer.logger={_target_:lightning.pytorch.loggers.CSVLogger,save_dir:x,name:more}",
        "trainer.plugins=[{_target_:lightning.pytorch.plugins.environments.LightningEnvironment}]",
    )
    kinds = {type(callback) for callback in trainer.callbacks}
    assert {Timer, ModelCheckpoint, LearningRateMonitor} <= kinds
    assert [(type(logger), logger.name) for logger in trainer.loggers] == [
        (CSVLogger, "metrics"),
        (CSVLogger, "more"),
    ]
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)


def test_under_slurm_lightning_does_not_requeue_by_itself(tmp_path, monkeypatch):
    given = {"NTASKS": 1, "NTASKS_PER_NODE": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0, "JOB_ID": 7}
    for name, value in given.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    environment = trainer_of(tmp_path)._accelerator_connector.cluster_environment
    assert isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue


def test_how_long_ranks_wait_for_one_another_can_be_chosen(tmp_path):
    """As in `experiments/clusters.md`; a checkpoint of such a run can be evaluated."""
    wait = "{_target_: datetime.timedelta, minutes: 10}"
    ddp = "{_target_: lightning.pytorch.strategies.DDPStrategy, timeout: " + wait + "}"
    config = tiny_run(tmp_path, f"trainer.strategy={ddp}")
    assert build_trainer(config).strategy._timeout == timedelta(minutes=10)
    rebuild_config(OmegaConf.to_yaml(config))


def test_without_loggers_and_checkpoints_nothing_asks_for_them(tmp_path):
    trainer = trainer_of(tmp_path, "trainer.logger=false", "trainer.enable_checkpointing=false")
    assert trainer.loggers == trainer.checkpoint_callbacks == []
    assert not any(isinstance(callback, LearningRateMonitor) for callback in trainer.callbacks)


def test_a_given_accumulation_settles_the_per_device_batch(tmp_path):
    run = build_run(tiny_run(tmp_path, "global_batch=6", "trainer.accumulate_grad_batches=3"))
    assert (run.data.train.batch_size, run.trainer.accumulate_grad_batches) == (2, 3)
    with pytest.raises(ConfigError, match=r"6 cannot be shared .*accumulate_grad_batches=4 steps"):
        build_run(tiny_run(tmp_path, "global_batch=6", "trainer.accumulate_grad_batches=4"))


class RecordRates(L.Callback):
    def __init__(self):
        self.rates = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("batches", "settings"),
    [
        (4, {"max_epochs": 6}),
        (4, {"max_epochs": 100, "max_steps": 24}),
        (4, {"max_epochs": -1, "max_steps": 24}),
        (4, {"max_epochs": None, "max_steps": 24}),
        (4, {"max_epochs": 6, "max_time": "01:00:00:00"}),
        (9, {"max_epochs": 6, "limit_train_batches": 4}),
        (9, {"max_epochs": -1, "max_steps": 24, "limit_train_batches": 0.45}),
        (10, {"max_epochs": 6, "accumulate_grad_batches": 3}),
        (10, {"max_epochs": -1, "max_steps": 24, "accumulate_grad_batches": 3}),
    ],
)
def test_one_schedule_whatever_says_how_long_training_is(tmp_path, batches, settings):
    module = stub_module(Constant(1.0))
    module.optimizer_settings = OptimizerSettings(
        base_lr=256.0, min_lr=25.6, warmup_lr=2.56, warmup_epochs=2
    )
    record = RecordRates()
    trainer = stub_trainer(tmp_path, record, limit_val_batches=0, **settings)
    trainer.fit(module, loader(*[BATCH] * batches))
    # 24 steps, 4 of them an epoch: two epochs of warm-up are 8.
    expected = [cosine_with_warmup(step, 8, 24, start=0.01, end=0.1) for step in range(24)]
    assert record.rates == pytest.approx(expected)


def test_an_epoch_that_max_steps_cuts_off_counts_whole_in_the_warm_up(tmp_path):
    module = stub_module(Constant(1.0))
    module.optimizer_settings = OptimizerSettings(base_lr=256.0, warmup_lr=0, warmup_epochs=0.5)
    record = RecordRates()
    stub_trainer(tmp_path, record, limit_val_batches=0, max_steps=3).fit(
        module, loader(*[BATCH] * 8)
    )
    assert record.rates == pytest.approx([0, 0.25, 0.5])


@pytest.mark.parametrize("algorithm", ["norm", "value"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_gradients_are_clipped_in_every_precision(tmp_path, precision, algorithm):
    settings = {"precision": precision}
    if precision == "16-mixed":  # on a CPU, Lightning would take bf16
        scaler = torch.amp.GradScaler("cpu")
        settings = {"plugins": [MixedPrecision("16-mixed", "cpu", scaler)]}
    module = stub_module(Constant(4.0))  # whose gradient is 2
    module.optimizer_settings = OptimizerSettings(base_lr=1e-3, warmup_epochs=0)
    gradients = []

    class Watch(L.Callback):
        def on_train_start(self, trainer, pl_module):
            trainer.optimizers[0].register_step_post_hook(
                lambda *_: gradients.append(module.model.scale.grad.item())
            )

    trainer = stub_trainer(
        tmp_path,
        Watch(),
        gradient_clip_val=0.5,
        gradient_clip_algorithm=algorithm,
        limit_val_batches=0,
        **settings,
    )
    trainer.fit(module, loader(BATCH, BATCH))
    assert gradients == pytest.approx([0.5, 0.5], rel=1e-3)
    # The fused step would undo the loss scaling of float16 only after clipping.
    assert trainer.optimizers[0].defaults["fused"] == (precision != "16-mixed")
