"""The LightningModule around any model that returns a `SlotPrediction`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from devias.evaluation.metrics import SplitMetrics
from devias.evaluation.protocol import harmonic_mean
from devias.evaluation.views import ActionSpace, score_videos
from devias.losses.base import LossTerm
from devias.models.matching import SlotMatcher
from devias.structures import ClipBatch, Roles, SlotPrediction
from devias.training.optim import OptimizerSettings, build_optimizer


class ActionSceneModule(L.LightningModule):
    """Trains and evaluates a model of action and scene slots.

    Args:
        model: clips `[B, 3, T, H, W]` → `SlotPrediction`.
        losses: loss terms by name; each is also a callback of the Trainer.
        matcher: which slot stands for the action, which for the scene.
        optimizer: see `OptimizerSettings`.
        global_batch: clips per optimiser step over all devices; scales the learning rate.
        val_splits, test_splits: names in the order of the data module's loaders.
        bias_aligned_actions: for each scene the action it usually comes with; gives the scene-bias
            rate of the splits in `unseen_splits`.
        unseen_splits: those of combinations not trained on.
        action_space: `half` takes the arg-max of actions over the action half of the head,
            `all` over the whole head (the released code).
        scene_topk: scene accuracy that enters the harmonic mean.
        compile: run the model through `torch.compile`.
    """

    def __init__(
        self,
        model: nn.Module,
        losses: Mapping[str, LossTerm],
        matcher: SlotMatcher,
        optimizer: OptimizerSettings,
        global_batch: int,
        val_splits: Sequence[str],
        test_splits: Sequence[str],
        bias_aligned_actions: Sequence[int] | None = None,
        unseen_splits: Sequence[str] = (),
        action_space: ActionSpace = "half",
        scene_topk: int = 1,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.losses = dict(losses)
        self.matcher = matcher
        self.optimizer_settings = optimizer
        self.global_batch = global_batch
        self.action_space, self.scene_topk = action_space, scene_topk
        self.splits = {"val": list(val_splits), "test": list(test_splits)}
        self.metrics = nn.ModuleDict(
            {
                split: SplitMetrics(bias_aligned_actions if split in unseen_splits else None)
                for splits in self.splits.values()
                for split in splits
            }
        )
        self.results: dict[str, dict[str, float]] = {}
        """Metrics of each split, of the latest validation or test."""
        if compile:
            self.model.compile()

    def configure_callbacks(self) -> list[L.Callback]:
        """Loss terms are callbacks, so that each may use every hook of the Trainer."""
        return list(self.losses.values())

    def forward(self, video: Tensor) -> SlotPrediction:
        """Normalised clips `[B, 3, T, H, W]` → prediction."""
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

    def _predict_views(self, batch: ClipBatch) -> SlotPrediction:
        """The prediction for the clips, with that for their distracted view where there is one."""
        if batch.distracted is None:
            return self.model(batch.video)
        # One pass for both views: gradient buckets and the compiled graph see a single forward.
        clips, distracted = self.model(torch.cat([batch.video, batch.distracted])).halves()
        return replace(clips, distracted=distracted)

    def validation_step(self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Update the split's metrics."""
        self._evaluate(batch, self.splits["val"][dataloader_idx])

    def test_step(
        self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Any]:
        """Update the split's metrics; callbacks draw figures from what is returned."""
        return self._evaluate(batch, self.splits["test"][dataloader_idx])

    def _evaluate(self, batch: ClipBatch, split: str) -> dict[str, Any]:
        prediction, roles = self.predict(batch)
        scores = score_videos(prediction, roles, batch.num_views, self.action_space)
        self._metrics(split).update(scores, batch, prediction, roles)
        return {"prediction": prediction, "roles": roles, "scores": scores}

    def on_validation_epoch_end(self) -> None:
        """Log every split's metrics and `val/harmonic_mean`, which selects the checkpoint."""
        self._log_metrics("val")
        headline = [
            value
            for metrics in self.results.values()
            for name, value in metrics.items()
            if name in ("action_top1", f"scene_top{self.scene_topk}")
        ]
        self.log("val/harmonic_mean", harmonic_mean(headline), prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Log every split's metrics."""
        self._log_metrics("test")

    def _log_metrics(self, stage: str) -> None:
        """Compute, log and reset; `log` need not reduce, the metrics did so over all ranks."""
        self.results = {}
        for split in self.splits[stage]:
            computed = self._metrics(split).compute()
            self._metrics(split).reset()
            self.results[split] = {name: float(value) for name, value in computed.items()}
            self.log_dict({f"{split}/{name}": value for name, value in computed.items()})

    def _metrics(self, split: str) -> SplitMetrics:
        metrics = self.metrics[split]
        assert isinstance(metrics, SplitMetrics)
        return metrics

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with layer decay; warm-up and cosine per step."""
        total = int(self.trainer.estimated_stepping_batches)
        epochs = self.trainer.max_epochs or 1
        optimizer, schedule = build_optimizer(
            self.model, self.optimizer_settings, self.global_batch, total / epochs, total
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
