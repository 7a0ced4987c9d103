"""The two representations of every video of a split, with any model of the package."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from devias.data.datamodule import VideoDataModule
from devias.data.dataset import EvalDataset, SampleKey, collate
from devias.data.shared_memory import check_shared_memory, collate_shared
from devias.data.transforms import EvalTransform
from devias.evaluation.feature_files import FeatureChunks, VideoFeatures
from devias.labels.lookup import label_sources
from devias.labels.on_device import BatchStage
from devias.labels.settings import Settings, describe, hash_of_lines
from devias.models.matching import SlotMatcher
from devias.structures import ClipBatch, Roles

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureSettings:
    """How the features of a video are taken and kept."""

    num_clips: int = 1
    """Temporal views of a video; a single one is central."""
    num_crops: int = 1
    """Spatial ones."""
    dtype: Literal["float32", "float16"] = "float32"
    chunk_size: int = 1024
    """Videos in a file; what a stopped extraction loses at most."""

    def __post_init__(self) -> None:
        if min(self.num_clips, self.num_crops, self.chunk_size) < 1:
            raise ValueError("num_clips, num_crops and chunk_size must be at least 1")
        if self.dtype not in ("float32", "float16"):
            raise ValueError(f"dtype must be float32 or float16, not {self.dtype!r}")


class VideoEncoder:
    """From the loader's batch to the features of its videos.

    Each view gives the roles to its own slots, as at inference; a video's feature is the mean over
    its views. A model of one slot has one feature for both roles.

    Args:
        model: clips → `SlotPrediction`.
        matcher: its roles at inference.
        stage: normalizes, and labels scenes where it has a scene model.
        device: where to compute.
        precision: as the Trainer names it; `bf16-mixed` runs the model in bfloat16.
    """

    def __init__(
        self,
        model: nn.Module,
        matcher: SlotMatcher,
        stage: BatchStage,
        device: torch.device | str = "cpu",
        precision: str = "32-true",
    ) -> None:
        self.model = model.to(device).eval()
        self.matcher = matcher
        self.stage = stage.to(device).eval()
        self.device = torch.device(device)
        self.bfloat16 = str(precision).startswith("bf16")

    @torch.inference_mode()
    def __call__(self, batch: ClipBatch) -> VideoFeatures:
        """The features of B videos in V views each, in float32 on the CPU."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            batch = self.stage(batch.to(self.device, non_blocking=True))
            prediction = self.model(batch.video)
        roles = self.matcher.infer(prediction)
        probability = prediction.logits.float().softmax(-1)
        halves = probability.tensor_split([prediction.num_actions], dim=-1)
        columns = {"action": batch.action, "scene": batch.scene}
        for name, role, half in zip(
            ("action", "scene"), (roles.action, roles.scene), halves, strict=True
        ):
            feature = Roles.pick(prediction.slots.float(), role)
            confidence = _confidence(Roles.pick(half, role))
            for kind, values in (("feature", feature), ("confidence", confidence)):
                views = values.unflatten(0, (-1, batch.num_views))
                columns[f"{name}_{kind}"] = views.mean(1)
        return VideoFeatures(
            batch.index.cpu().numpy(), {k: v.cpu().numpy() for k, v in columns.items()}
        )


def _confidence(probability: Tensor) -> Tensor:
    """`[B, C]` → the highest `[B]`; NaN where the head has no classes for the role."""
    if not probability.shape[-1]:
        return probability.new_full(probability.shape[:1], torch.nan)
    return probability.amax(-1)


def feature_sources(
    encoder: VideoEncoder, data: VideoDataModule, split: str, settings: FeatureSettings
) -> Settings:
    """All that the features of a split depend on, whoever makes them; weights by content."""
    records = data.records(split)
    sources = label_sources(encoder.stage, data, records)
    return {
        **{key: value for key, value in sources.items() if key != "masks"},
        "labels": hash_of_lines([f"{record.action} {record.scene}" for record in records]),
        "model": describe(encoder.model),
        "matcher": describe(encoder.matcher),
        "normalization": describe(encoder.stage.normalize),
        "bfloat16": encoder.bfloat16,
        **vars(settings),
    }


def extract_features(
    encoder: VideoEncoder,
    data: VideoDataModule,
    split: str,
    chunks: FeatureChunks,
    settings: FeatureSettings,
    rank: int = 0,
    world_size: int = 1,
) -> None:
    """Fill the chunks that are not there yet, this rank's share of them.

    A video that cannot be read is named in the log (by the loader) and in its chunk, and has no
    features. Only a chunk is in memory at a time.
    """
    todo = [chunk for chunk in chunks.missing() if chunk % world_size == rank]
    total = sum(len(chunks.videos_of(chunk)) for chunk in todo)
    log.info("%s: %d of %d videos to look at", split, total, chunks.num_videos)
    batches = iter(_loader(data, split, chunks, todo, settings))
    done, start = 0, time.monotonic()
    for chunk in todo:
        own = chunks.videos_of(chunk)
        parts: list[VideoFeatures] = []
        unreadable: dict[int, str] = {}
        while len(unreadable) + sum(len(part) for part in parts) < len(own):
            batch: ClipBatch = next(batches)
            unreadable |= batch.errors
            if len(batch.errors) < len(batch):
                parts.append(encoder(batch).without(batch.errors))
        chunks.write(chunk, VideoFeatures.joined(parts, settings.dtype), unreadable)
        done += len(own)
        rate = done / (time.monotonic() - start)
        left = timedelta(seconds=round((total - done) / rate))
        log.info("%s: %d of %d videos, %.1f a second, %s left", split, done, total, rate, left)


def _loader(
    data: VideoDataModule,
    split: str,
    chunks: FeatureChunks,
    todo: Sequence[int],
    settings: FeatureSettings,
) -> DataLoader[Any]:
    """Batches of the chunks' videos in order, none of two chunks."""
    views = settings.num_clips * settings.num_crops
    batch_size = max(1, data.eval_batch_size // views)
    dataset = EvalDataset(
        data.records(split),
        EvalTransform(data.image_size, settings.num_crops),
        data.clip_length,
        data.stride,
        within=data.real_folders,
        num_clips=settings.num_clips,
        skip_bad=True,
        views_seed=data.views_seed(split),
    )
    if data.num_workers:
        clip = 3 * data.clip_length * data.image_size**2
        check_shared_memory(clip * batch_size * views, data.num_workers)
    return DataLoader(
        dataset,
        batch_sampler=list(_batches(chunks, todo, batch_size)),
        num_workers=data.num_workers,
        collate_fn=collate_shared if data.num_workers else collate,
        pin_memory=torch.cuda.is_available(),
    )


def _batches(
    chunks: FeatureChunks, todo: Sequence[int], batch_size: int
) -> Iterator[list[SampleKey]]:
    for chunk in todo:
        own = chunks.videos_of(chunk)
        for first in own[::batch_size]:
            yield [SampleKey(number) for number in range(first, min(first + batch_size, own.stop))]
