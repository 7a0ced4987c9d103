"""AdamW with layer decay and the warm-up + cosine schedule, both per step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from timm.optim import param_groups_layer_decay
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from devias.errors import ConfigError


@dataclass(frozen=True)
class OptimizerSettings:
    """The paper's optimizer; learning rates are per 256 clips of the global batch.

    Args:
        base_lr: peak rate at a global batch of 256.
        min_lr: final rate, scaled by the global batch like `base_lr`.
        layer_decay: rate of each layer relative to the one above it.
        slot_attention_lr_scale: extra factor on the slot attention's rate.
        warmup_epochs: of linear warm-up from `warmup_lr`; may be fractional.
    """

    base_lr: float = 5e-4
    min_lr: float = 1e-6
    warmup_lr: float = 1e-8
    warmup_epochs: float = 5.0
    weight_decay: float = 0.05
    layer_decay: float = 0.75
    slot_attention_lr_scale: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def scaled(self, rate: float, global_batch: int) -> float:
        """The linear scaling rule: `rate · global_batch / 256`."""
        return rate * global_batch / 256


def parameter_groups(model: nn.Module, settings: OptimizerSettings) -> list[dict[str, Any]]:
    """Layer-decay groups of timm, with the slot attention's parameters at their own scale.

    Each group holds `params`, `weight_decay` and `lr_scale`.
    """
    groups = param_groups_layer_decay(
        model,
        weight_decay=settings.weight_decay,
        no_weight_decay_list=model.no_weight_decay(),  # type: ignore[operator]
        layer_decay=settings.layer_decay,
    )
    slot_attention = getattr(model, "slot_attention", None)
    if slot_attention is None:
        return groups
    own = {id(parameter) for parameter in slot_attention.parameters()}
    split = []
    for group in groups:
        inside = [p for p in group["params"] if id(p) in own]
        outside = [p for p in group["params"] if id(p) not in own]
        scale = group["lr_scale"] * settings.slot_attention_lr_scale
        split += [
            {**group, "params": params, "lr_scale": lr_scale}
            for params, lr_scale in ((outside, group["lr_scale"]), (inside, scale))
            if params
        ]
    return split


def cosine_with_warmup(step: int, warmup: int, total: int, start: float, end: float) -> float:
    """The rate at `step`, as a share of the peak.

    Linear from `start` to 1 over `warmup` steps, then half a cosine to `end` at step
    `total − 1`; `start` and `end` are shares of the peak as well.
    """
    if step < warmup:
        return start + (1 - start) * step / warmup
    progress = min(1.0, (step - warmup) / max(1, total - 1 - warmup))
    return end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2


def build_optimizer(
    model: nn.Module,
    settings: OptimizerSettings,
    global_batch: int,
    steps_per_epoch: int,
    total_steps: int,
    fused: bool = True,
) -> tuple[Optimizer, LambdaLR]:
    """The optimizer and its per-step schedule.

    Args:
        model: its parameters that need gradients are trained.
        settings: rates and decay.
        global_batch: clips per step over all devices; scales the rates.
        steps_per_epoch: optimizer steps that one pass over the data takes.
        total_steps: at which the rate has come down to its last value.
        fused: one kernel for all parameters, where their device has it.
    """
    peak = settings.scaled(settings.base_lr, global_batch)
    groups = parameter_groups(model, settings)
    for group in groups:
        group["lr"] = peak * group["lr_scale"]
    device = next(model.parameters()).device
    optimizer = AdamW(
        groups,
        betas=settings.betas,
        eps=settings.eps,
        fused=fused and device.type in ("cuda", "cpu"),
    )
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    start = settings.scaled(settings.warmup_lr, global_batch) / peak
    end = settings.scaled(settings.min_lr, global_batch) / peak
    schedule = LambdaLR(
        optimizer, lambda step: cosine_with_warmup(step, warmup, total_steps, start, end)
    )
    return optimizer, schedule


def split_global_batch(
    global_batch: int, devices: int, max_per_device: int, accumulated: int | None = None
) -> tuple[int, int]:
    """Divide a global batch into `(per-device batch, accumulated steps)`.

    The largest per-device batch of at most `max_per_device` that divides evenly is taken; a given
    number of accumulated steps settles it instead.

    Raises:
        ConfigError: the devices and steps cannot share the global batch evenly.
    """
    for name, value in (
        ("global_batch", global_batch),
        ("max_batch_per_device", max_per_device),
        ("trainer.accumulate_grad_batches", 1 if accumulated is None else accumulated),
    ):
        if value < 1:
            raise ConfigError(f"{name}={value} must be at least 1")
    share, rest = divmod(global_batch, devices * (accumulated or 1))
    if rest:
        steps = f" in trainer.accumulate_grad_batches={accumulated} steps" if accumulated else ""
        raise ConfigError(
            f"global_batch={global_batch} cannot be shared evenly by {devices} devices{steps}"
        )
    if accumulated:
        return share, accumulated
    per_device = next(n for n in range(min(share, max_per_device), 0, -1) if share % n == 0)
    return per_device, share // per_device
