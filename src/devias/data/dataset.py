"""A list of video records as a dataset of clips: read, sample, transform, nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from devias.data.decoding import VideoError, VideoReader
from devias.data.masks import read_masks
from devias.data.records import VideoRecord
from devias.data.sampling import segment_frames, train_indices, view_indices
from devias.structures import ClipBatch

log = logging.getLogger(__name__)

Transform = Callable[..., tuple[Tensor, Tensor | None]]


@dataclass(frozen=True, slots=True, order=True)
class Draw:
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
    masks: Tensor | None
    """`[V, T, H, W]` bool."""
    action: int
    scene: int
    index: int


class TooManyBadVideos(RuntimeError):
    """More training videos than allowed could not be read."""


class VideoDataset(Dataset[VideoSample]):
    """Clips of `records`: base of the training and the evaluation dataset.

    With `preload`, `load()` decodes every video once into memory, which pays when the whole
    dataset fits there; otherwise every access decodes only the frames it needs.
    """

    def __init__(
        self,
        records: Sequence[VideoRecord],
        transform: Transform,
        clip_length: int,
        stride: int,
        load_masks: bool = False,
    ) -> None:
        if not records:
            raise ValueError("a dataset needs at least one video")
        self.records = records
        self.transform = transform
        self.clip_length = clip_length
        self.stride = stride
        self.load_masks = load_masks
        self._memory: list[Tensor | VideoError] | None = None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: Draw) -> VideoSample:
        raise NotImplementedError

    def preload(self, description: str, threads: int = 2) -> None:
        """Decode all videos into memory; a video that fails keeps its error for its access."""

        def whole(record: VideoRecord) -> Tensor | VideoError:
            try:
                return self._decode(record, lambda num_frames: np.arange(num_frames))[0]
            except VideoError as error:
                return error

        with ThreadPoolExecutor(threads) as pool:
            frames = pool.map(whole, self.records)
            self._memory = list(track(frames, description, total=len(self.records)))

    def _frames(
        self, index: int, choose: Callable[[int], np.ndarray]
    ) -> tuple[Tensor, Tensor | None]:
        """Frames `[*choice, H, W, 3]` and masks `[*choice, H, W]` of the indices `choose` picks."""
        record = self.records[index]
        if self._memory is None:
            frames, indices = self._decode(record, choose)
        else:
            whole = self._memory[index]
            if isinstance(whole, VideoError):
                raise whole
            indices = choose(len(whole))
            frames = whole[torch.from_numpy(indices)]
        if not self.load_masks or record.masks is None:
            return frames, None
        masks = read_masks(record.masks)
        if indices.max() >= len(masks):
            raise VideoError(f"{record.masks}: {len(masks)} masks, fewer than the video has frames")
        return frames, masks[torch.from_numpy(indices)]

    @staticmethod
    def _decode(
        record: VideoRecord, choose: Callable[[int], np.ndarray]
    ) -> tuple[Tensor, np.ndarray]:
        with VideoReader(record.path) as reader:
            segment = range(reader.num_frames)
            if record.start is not None or record.end is not None:
                try:
                    segment = segment_frames(reader.timestamps, record.start, record.end)
                except ValueError as error:
                    raise VideoError(f"{record.path}: {error}") from error
            indices = choose(len(segment)) + segment.start
            frames = reader.read(indices.reshape(-1))
            return frames.reshape(*indices.shape, *frames.shape[1:]), indices


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

    def __getitem__(self, draw: Draw) -> VideoSample:
        """The clip of one draw.

        Raises:
            TooManyBadVideos: the share of unreadable videos exceeds `max_bad_share`.
        """
        generator = torch.Generator().manual_seed(draw.seed)
        index = draw.index
        while True:
            position = float(torch.rand((), generator=generator))
            try:
                frames, masks = self._frames(
                    index,
                    lambda n: train_indices(n, self.clip_length, self.stride, position),  # noqa: B023
                )
                break
            except VideoError as error:
                self._mark(index, error)
                index = int(torch.randint(len(self), (), generator=generator))
        video, masks = self.transform(frames, masks, generator)
        record = self.records[index]
        return VideoSample(
            video[None], None if masks is None else masks[None], record.action, record.scene, index
        )

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

    A video is decoded once for all views. An unreadable one is an error that names the file and
    the annotation line: a result on other videos than asked would be wrong.
    """

    def __init__(self, *args: object, num_clips: int = 1, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.num_clips = num_clips

    def __getitem__(self, draw: Draw) -> VideoSample:
        """All views of one video."""
        record = self.records[draw.index]
        try:
            frames, masks = self._frames(
                draw.index,
                lambda n: view_indices(n, self.clip_length, self.stride, self.num_clips),
            )
        except VideoError as error:
            raise VideoError(f"{error} (annotated at {record.source})") from error
        video, masks = self.transform(frames, masks)
        return VideoSample(video, masks, record.action, record.scene, draw.index)


def collate(samples: Sequence[VideoSample]) -> ClipBatch:
    """Stack samples into a batch; the views of a video stay neighbours."""
    masks = [sample.masks for sample in samples if sample.masks is not None]
    return ClipBatch(
        video=torch.cat([sample.video for sample in samples]),
        action=torch.tensor([sample.action for sample in samples]),
        scene=torch.tensor([sample.scene for sample in samples]),
        index=torch.tensor([sample.index for sample in samples]),
        num_views=len(samples[0].video),
        true_masks=torch.cat(masks) if len(masks) == len(samples) else None,
    )
