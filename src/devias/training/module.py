"""The LightningModule around any model that returns a `SlotPrediction`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from devias.evaluation.composition import Reference
from devias.evaluation.metrics import Values, mean_metrics, video_metrics
from devias.evaluation.predictions import Predictions, Recorder
from devias.evaluation.protocol import EvalSet, Protocol
from devias.losses.base import LossTerm
from devias.models.matching import SlotMatcher
from devias.structures import ClipBatch, Roles, SlotPrediction
from devias.training.optim import OptimizerSettings, build_optimizer
from devias.training.sharding import shard
from devias.training.trainer import schedule_steps


class ActionSceneModule(L.LightningModule):
    """Trains and evaluates a model of action and scene slots.

    Args:
        model: clips `[B, 3, T, H, W]` → `SlotPrediction`.
        losses: loss terms by name; each is also a callback of the Trainer.
        matcher: which slot stands for the action, which for the scene.
        optimizer: see `OptimizerSettings`.
        global_batch: clips per optimizer step over all devices; scales the learning rate.
        protocol: what to evaluate on; its sets stand in the order of the data module's loaders.
        reference: what answers on a set are held against; asked for when a set is evaluated.
        compile: run the model through `torch.compile`.
    """

    def __init__(
        self,
        model: nn.Module,
        losses: Mapping[str, LossTerm],
        matcher: SlotMatcher,
        optimizer: OptimizerSettings,
        global_batch: int,
        protocol: Protocol,
        reference: Callable[[EvalSet], Reference] | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.losses = dict(losses)
        self.matcher = matcher
        self.optimizer_settings = optimizer
        self.global_batch = global_batch
        self.protocol = protocol
        self.reference = reference
        self._recorders: dict[str, Recorder] = {}
        self.predictions: dict[str, Predictions] = {}
        """The answers on each set, of all ranks, of the latest validation or test."""
        self.videos: dict[str, dict[str, Values]] = {}
        """What every video counts for in the metrics of its set; see `video_metrics`."""
        self.results: dict[str, dict[str, float]] = {}
        """Metrics of each set: their means."""
        if compile:
            self.model.compile()

    def configure_model(self) -> None:
        """Share the model out among the ranks, where the strategy is one that does."""
        if self.device_mesh is not None:
            shard(self.model, self.device_mesh["data_parallel"])

    def configure_callbacks(self) -> list[L.Callback]:
        """Loss terms are callbacks, so that each may use every hook of the Trainer."""
        return list(self.losses.values())

    def forward(self, video: Tensor) -> SlotPrediction:
        """Normalized clips `[B, 3, T, H, W]` → prediction."""
        return self.model(video)

    def predict(self, batch: ClipBatch) -> tuple[SlotPrediction, Roles]:
        """Prediction and roles as at inference, without labels."""
        prediction = self.model(batch.video)
        return prediction, self.matcher.infer(prediction)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> dict[str, Tensor]:
        """The weighted sum of the loss terms; each is logged under its name, unweighted."""
        prediction = self._predict_views(batch)
        roles = self.matcher.match(prediction, batch.action, batch.scene)
        terms = torch.stack([term(prediction, roles, batch) for term in self.losses.values()])
        weights = [term.weight for term in self.losses.values()]
        loss = sum(weight * term for weight, term in zip(weights, terms, strict=True))
        values = terms.detach()
        logged = {f"loss/{name}": value for name, value in zip(self.losses, values, strict=True)}
        self.log_dict({**logged, "loss/total": loss.detach()}, batch_size=len(batch))
        return {"loss": loss, "terms": values}

    def on_train_epoch_end(self) -> None:
        """Log the weights of the loss terms, which terms may change."""
        self.log_dict({f"weight/{name}": term.weight for name, term in self.losses.items()})

    def _predict_views(self, batch: ClipBatch) -> SlotPrediction:
        """The prediction for the clips, with that for their second view where there is one."""
        if batch.second_view is None:
            return self.model(batch.video)
        # One pass for both views: gradient buckets and the compiled graph see a single forward.
        clips, second_view = self.model(torch.cat([batch.video, batch.second_view])).halves()
        return replace(clips, second_view=second_view)

    def validation_step(self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Record what the model answers."""
        self._evaluate(batch, self.protocol.validation[dataloader_idx])

    def test_step(
        self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Any]:
        """Record what the model answers; callbacks draw figures from what is returned."""
        return self._evaluate(batch, self.protocol.sets[dataloader_idx])

    def _evaluate(self, batch: ClipBatch, eval_set: EvalSet) -> dict[str, Any]:
        prediction, roles = self.predict(batch)
        scores = self._recorders[eval_set.name].add(prediction, roles, batch)
        return {"prediction": prediction, "roles": roles, "scores": scores}

    def on_validation_epoch_start(self) -> None:
        """Begin with no answers, also where an earlier validation was interrupted."""
        self._record(self.protocol.validation)

    def on_test_epoch_start(self) -> None:
        """Begin with no answers."""
        self._record(self.protocol.sets)

    def _record(self, sets: Sequence[EvalSet]) -> None:
        space, kept = self.protocol.action_space, self.protocol.kept_scores
        self._recorders = {s.name: Recorder(space, kept) for s in sets}

    def on_validation_epoch_end(self) -> None:
        """Log every set's metrics and `val/harmonic_mean`, which selects the checkpoint."""
        self._log_metrics(self.protocol.validation)
        self.log("val/harmonic_mean", self.protocol.validation_score(self.results), prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Log every set's metrics."""
        self._log_metrics(self.protocol.sets)

    def _log_metrics(self, sets: Sequence[EvalSet]) -> None:
        """Gather, compute and log; all ranks have the same numbers, so `log` need not reduce."""
        self.predictions, self.videos, self.results = {}, {}, {}
        for eval_set in sets:
            name = eval_set.name
            predictions = self._recorders[name].gather()
            reference = self.reference(eval_set) if self.reference else None
            self.predictions[name] = predictions
            self.videos[name] = video_metrics(predictions, eval_set.tasks, reference)
            self.results[name] = mean_metrics(self.videos[name])
            self.log_dict({f"{name}/{metric}": v for metric, v in self.results[name].items()})

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with layer decay; warm-up and cosine per step."""
        total, per_epoch = schedule_steps(self.trainer)
        # A fused step undoes the loss scaling of float16 itself, which is too late for clipping.
        clips_scaled = self._scales_gradients() and bool(self.trainer.gradient_clip_val)
        optimizer, schedule = build_optimizer(
            self.model,
            self.optimizer_settings,
            self.global_batch,
            per_epoch,
            total,
            fused=not clips_scaled,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as Lightning does, in bf16 as well, which it refuses for every fused optimizer."""
        precision = self.trainer.precision_plugin
        if gradient_clip_val and not self._scales_gradients():
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(precision, optimizer, gradient_clip_val, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def _scales_gradients(self) -> bool:
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None
