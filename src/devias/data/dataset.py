"""A list of video records as a dataset of clips: read, sample, transform, nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from devias.data.frame_indices import (
    Indices,
    random_view_indices,
    segment_frames,
    train_indices,
    view_indices,
)
from devias.data.links import require_within
from devias.data.mask_files import read_masks
from devias.data.readers import VideoError, open_frames
from devias.data.records import PackedRecords, VideoRecord
from devias.data.transforms import resize_masks
from devias.errors import DeviasError
from devias.structures import ClipBatch

log = logging.getLogger(__name__)

Transform = Callable[..., tuple[Tensor, Tensor | None]]


class LabelLookup(Protocol):
    """Pseudo labels made beforehand, found again for any clip."""

    masks: bool
    """Whether it hands out masks."""
    has_clip_mask: bool
    """Whether the first of them is that of the whole clip."""

    def __call__(
        self, number: int, path: Path, num_frames: int, indices: Indices
    ) -> tuple[Tensor | None, Tensor | None]:
        """Of a video in the list, its file and number of frames, the clips `indices [V, T]` make.

        Returns:
            Masks `[V, P, h, w]` bool and scene logits `[V, N_S]`, where there are any.
        """

    def video_scenes(self) -> Sequence[int] | None:
        """The scene of each video in the list; `None` where there are no scene logits."""


@dataclass(frozen=True, slots=True, order=True)
class SampleKey:
    """What a sampler asks of a dataset: which record, and the seed of all its random choices.

    A sample depends on its draw alone, whatever the number of workers or the point at which a
    run was resumed.
    """

    index: int
    seed: int = 0


@dataclass
class VideoSample:
    """One video as the dataset hands it to `collate`."""

    video: Tensor
    """`[V, 3, T, H, W]` uint8."""
    action: int
    scene: int
    index: int
    ground_truth_masks: Tensor | None = None
    """`[V, T, H, W]` bool."""
    clip_mask: Tensor | None = None
    """`[V, H, W]` bool."""
    frame_masks: Tensor | None = None
    """`[V, T', H, W]` bool."""
    scene_logits: Tensor | None = None
    """`[V, N_S]`."""
    error: str | None = None
    """Why the video could not be read; its clips show nothing then."""


@dataclass
class VideoClips:
    """Clips of one video as decoded, all of them of whole frames."""

    frames: Tensor
    """`[V, T, H, W, 3]` uint8."""
    masks: Tensor | None
    """`[V, P, H, W]` bool: T true masks where there are any, then what the cache holds."""
    scene_logits: Tensor | None
    """`[V, N_S]`, from the cache."""


class TooManyBadVideos(DeviasError, RuntimeError):
    """More training videos than allowed could not be read."""


class VideoDataset(Dataset[VideoSample]):
    """Clips of `records`: base of the training and the evaluation dataset.

    `preload()` decodes every video once into memory, which pays when the whole
    dataset fits there; otherwise every access decodes only the frames it needs.

    Args:
        records: of the videos.
        transform: from frames and masks to clips.
        clip_length: T.
        stride: in frames of the video.
        load_masks: hand on the true masks of records that have them.
        labels: pseudo labels made beforehand.
        within: see `read_frames`.
    """

    def __init__(
        self,
        records: Sequence[VideoRecord],
        transform: Transform,
        clip_length: int,
        stride: int,
        load_masks: bool = False,
        labels: LabelLookup | None = None,
        within: Sequence[str] = (),
    ) -> None:
        if not records:
            raise ValueError("a dataset needs at least one video")
        self.records = PackedRecords(records)
        self.transform = transform
        self.clip_length = clip_length
        self.stride = stride
        self.load_masks = load_masks
        self.labels = labels
        self.within = within
        self._memory: list[tuple[Tensor, range] | VideoError] | None = None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: SampleKey) -> VideoSample:
        raise NotImplementedError

    def preload(self, description: str, threads: int = 2) -> None:
        """Decode all videos into memory; a video that fails keeps its error for its access."""

        def whole(record: VideoRecord) -> tuple[Tensor, range] | VideoError:
            try:
                frames, _, segment = read_frames(record, np.arange, self.within)
                return frames, segment
            except VideoError as error:
                return error

        with ThreadPoolExecutor(threads) as pool:
            frames = pool.map(whole, self.records)
            self._memory = list(track(frames, description, total=len(self.records)))

    def _clips(self, index: int, choose: Callable[[int], Indices]) -> VideoClips:
        """The clips `[V, T]` that `choose` makes of a number of frames."""
        record = self.records[index]
        if self._memory is None:
            frames, chosen, segment = read_frames(record, choose, self.within)
        else:
            memory = self._memory[index]
            if isinstance(memory, VideoError):
                raise memory
            whole, segment = memory
            chosen = choose(len(segment))
            frames = whole[torch.from_numpy(chosen)]
        masks, scene_logits = [], None
        if self._has_true_masks(record):
            masks.append(_true_masks(record, chosen + segment.start))
        if self.labels is not None:
            cached, scene_logits = self.labels(index, record.path, len(segment), chosen)
            if cached is not None:
                masks.append(resize_masks(cached, *frames.shape[2:4]))
        return VideoClips(frames, torch.cat(masks, dim=1) if masks else None, scene_logits)

    def _sample(
        self, index: int, video: Tensor, masks: Tensor | None, scene_logits: Tensor | None
    ) -> VideoSample:
        """Transformed clips `[V, 3, T, H, W]`, masks `[V, P, H, W]` in the order of `_clips`."""
        record = self.records[index]
        sample = VideoSample(video, record.action, record.scene, index, scene_logits=scene_logits)
        if masks is not None:
            if self._has_true_masks(record):
                sample.ground_truth_masks, masks = masks.tensor_split([self.clip_length], dim=1)
            if self.labels is not None and self.labels.masks:
                if self.labels.has_clip_mask:
                    sample.clip_mask, masks = masks[:, 0], masks[:, 1:]
                sample.frame_masks = masks
        return sample

    def _has_true_masks(self, record: VideoRecord) -> bool:
        return self.load_masks and record.masks is not None


class TrainDataset(VideoDataset):
    """One randomly placed and augmented clip of every video.

    A video that cannot be read is replaced by another one, named once in the log and marked;
    once more than `max_bad_share` of all videos are marked, `TooManyBadVideos` is raised.
    """

    def __init__(self, *args: object, max_bad_share: float = 0.01, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.max_bad_share = max_bad_share
        self._bad = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    @property
    def bad(self) -> list[int]:
        """Indices of the records that could not be read so far, by any worker."""
        return self._bad.nonzero().flatten().tolist()

    def __getitem__(self, draw: SampleKey) -> VideoSample:
        """The clip of one draw.

        Raises:
            TooManyBadVideos: the share of unreadable videos exceeds `max_bad_share`.
        """
        generator = torch.Generator().manual_seed(draw.seed)
        index = draw.index
        while True:
            position = float(torch.rand((), generator=generator))
            try:
                clips = self._clips(
                    index,
                    lambda n: train_indices(n, self.clip_length, self.stride, position)[None],  # noqa: B023
                )
                break
            except VideoError as error:
                self._mark(index, error)
                index = int(torch.randint(len(self), (), generator=generator))
        masks = None if clips.masks is None else clips.masks[0]
        video, masks = self.transform(clips.frames[0], masks, generator)
        masks = None if masks is None else masks[None]
        return self._sample(index, video[None], masks, clips.scene_logits)

    def _mark(self, index: int, error: VideoError) -> None:
        if not self._bad[index]:
            self._bad[index] = True
            log.warning("replaced by another video: %s (%s)", error, self.records[index].source)
        count = int(self._bad.sum())
        if count > self.max_bad_share * len(self):
            raise TooManyBadVideos(
                f"{count} of {len(self)} training videos could not be read, more than the allowed "
                f"share data.max_bad_share={self.max_bad_share}; the last: {error}"
            ) from error


class EvalDataset(VideoDataset):
    """Every video with all its views: `num_clips` temporal ones times the transform's crops.

    The clips are evenly placed; with `views_seed` at random, those of a video always alike.
    A video is decoded once for all views. An unreadable one is an error that names the file and
    the annotation line: a result on other videos than asked would be wrong. With `skip_bad` it is
    a sample that bears this error instead, for whoever counts to leave it out.
    """

    def __init__(
        self,
        *args: object,
        num_clips: int = 1,
        skip_bad: bool = False,
        views_seed: int | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.num_clips, self.skip_bad = num_clips, skip_bad
        self.views_seed = views_seed

    def __getitem__(self, draw: SampleKey) -> VideoSample:
        """All views of one video.

        Raises:
            VideoError: it cannot be read, unless `skip_bad`.
        """
        try:
            clips = self._clips(draw.index, lambda n: self._views(n, draw.index))
        except VideoError as error:
            message = f"{error} (annotated at {self.records[draw.index].source})"
            if not self.skip_bad:
                raise VideoError(message) from error
            log.warning("left out: %s", message)
            return self._nothing(draw.index, message)
        video, masks = self.transform(clips.frames, clips.masks)
        logits = clips.scene_logits
        if logits is not None:
            logits = logits.repeat_interleave(len(video) // len(logits), dim=0)
        return self._sample(draw.index, video, masks, logits)

    def _nothing(self, index: int, error: str) -> VideoSample:
        """A sample of black views."""
        black = torch.zeros(self.num_clips, self.clip_length, 8, 8, 3, dtype=torch.uint8)
        video, _ = self.transform(black, None)
        record = self.records[index]
        return VideoSample(video, record.action, record.scene, index, error=error)

    def _views(self, num_frames: int, index: int) -> Indices:
        shape = num_frames, self.clip_length, self.stride, self.num_clips
        if self.views_seed is None:
            return view_indices(*shape)
        return random_view_indices(*shape, np.random.default_rng((self.views_seed, index)))


def read_frames(
    record: VideoRecord, choose: Callable[[int], Indices], within: Sequence[str] = ()
) -> tuple[Tensor, Indices, range]:
    """Decode chosen frames of a record's segment, or of its whole video.

    Args:
        record: of the video.
        choose: frame numbers, given how many there are.
        within: the real folders that no link may lead out of; see `data/links.py`.

    Returns:
        The frames `[*choice, H, W, 3]`; what `choose` made of the number of frames; and the
        segment, whose start counts as frame 0 of the choice.

    Raises:
        OutsideLinkError: the video lies elsewhere.
        VideoError: the video cannot be read, or has no frame in the segment.
    """
    require_within(record, within)
    with open_frames(record.path, record.composite) as reader:
        segment = range(reader.num_frames)
        if record.start is not None or record.end is not None:
            try:
                segment = segment_frames(reader.timestamps, record.start, record.end)
            except ValueError as error:
                raise VideoError(f"{record.path}: {error}") from error
        chosen = choose(len(segment))
        return reader.read_clips(chosen + segment.start), chosen, segment


def _true_masks(record: VideoRecord, indices: Indices) -> Tensor:
    """`[V, T]` frame numbers → bool `[V, T, H, W]`."""
    assert record.masks is not None
    masks = read_masks(record.masks)
    if indices.max() >= len(masks):
        raise VideoError(f"{record.masks}: {len(masks)} masks, fewer than the video has frames")
    return masks[torch.from_numpy(indices)]


def collate(samples: Sequence[VideoSample]) -> ClipBatch:
    """Stack samples into a batch; the views of a video stay neighbors."""
    read = next((sample for sample in samples if sample.error is None), samples[0])

    def stack(name: str) -> Tensor | None:
        """What every sample has, else `None`; one that shows nothing borrows another's."""
        tensors = [getattr(read if sample.error else sample, name) for sample in samples]
        return None if any(tensor is None for tensor in tensors) else torch.cat(tensors)

    return ClipBatch(
        video=torch.cat([sample.video for sample in samples]),
        action=torch.tensor([sample.action for sample in samples]),
        scene=torch.tensor([sample.scene for sample in samples]),
        index=torch.tensor([sample.index for sample in samples]),
        num_views=len(samples[0].video),
        ground_truth_masks=stack("ground_truth_masks"),
        clip_mask=stack("clip_mask"),
        frame_masks=stack("frame_masks"),
        scene_logits=stack("scene_logits"),
        errors={sample.index: sample.error for sample in samples if sample.error},
    )
