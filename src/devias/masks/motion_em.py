"""Human masks by expectation-maximization over motion, color and place, without learning."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from devias.masks.base import MaskExtractor
from devias.masks.camera import camera_path, gaussian_blur, gaussian_weights, shift

COLOR_BINS = (10, 8, 8)
"""Bins of brightness, red − blue and green − (red + blue) / 2."""
CELLS = 6
"""Colors are counted in CELLS × CELLS parts of the frame."""
NUM_COLORS = math.prod(COLOR_BINS)
COLOR_WEIGHT, PLACE_WEIGHT = 1.5, 0.22
"""Beside motion, whose weight is 1."""
REACH = 2.5
"""Standard deviations from the center of the foreground where its place begins to speak against."""


class MotionEM(MaskExtractor):
    """Marks what moves against the background, and what has its colors near it.

    Every pixel of every frame gets the probability that it is the actor's, from three terms:

    - motion, fixed: the camera's own motion is taken out; then the larger of the difference to
      the neighboring frames and to the temporal median counts, relative to the average of the
      clip and of its row, as what moves a lot in one place (waves, a crowd) is often background;
    - color: how frequent the pixel's color is in the foreground nearby, against the background
      at its height;
    - place: the distance to the foreground's center, in standard deviations of its extent.

    The last two are counted anew from the probabilities, `iterations` times. Unlike FAME the share
    of foreground is not fixed: a clip in which nothing moves has almost none.

    Args:
        iterations: rounds of expectation and maximization.
        motion_level: how many times the average motion speaks neither for nor against the actor.
        working_size: short side in pixels of the frames that are looked at; larger ones are
            reduced, their masks enlarged.
        tubelet_size: frames that share one frame mask, their mean.
    """

    def __init__(
        self,
        iterations: int = 5,
        motion_level: float = 2.0,
        working_size: int = 56,
        tubelet_size: int = 2,
    ) -> None:
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1, not {iterations}")
        if motion_level <= 0:
            raise ValueError(f"motion_level is a multiple of the average, > 0, not {motion_level}")
        if working_size < CELLS:
            raise ValueError(f"working_size must be at least {CELLS} pixels, not {working_size}")
        self.iterations = iterations
        self.motion_level = motion_level
        self.working_size = working_size
        self.tubelet_size = tubelet_size

    @torch.no_grad()
    def __call__(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Mask clips `[B, 3, T, H, W]` with values in [0, 1].

        Returns:
            The clip masks `[B, H, W]` and the frame masks `[B, T', H, W]`, float32 in [0, 1].
        """
        frames, *size = video.shape[2:]
        if frames < 2:
            raise ValueError(f"motion shows in two frames or more, not in {frames}")
        if frames % self.tubelet_size:
            raise ValueError(f"{frames} frames do not divide into tubelets of {self.tubelet_size}")
        with torch.autocast(video.device.type, enabled=False):
            video = self._reduced(video.float())
            probability = self._probability(video)
            frame_masks = probability.unflatten(1, (-1, self.tubelet_size)).mean(2)
            if frame_masks.shape[-2:] != tuple(size):
                frame_masks = F.interpolate(frame_masks, size, mode="bilinear")
        return frame_masks.mean(1), frame_masks

    def _reduced(self, video: Tensor) -> Tensor:
        """The clips with a short side of at most `working_size` pixels."""
        clips, _, frames, height, width = video.shape
        scale = self.working_size / min(height, width)
        if scale >= 1:
            return video
        size = round(height * scale), round(width * scale)
        images = video.transpose(1, 2).flatten(0, 1)
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
        return images.unflatten(0, (clips, frames)).transpose(1, 2)

    def _probability(self, video: Tensor) -> Tensor:
        """Foreground probability of every pixel of clips `[B, 3, T, h, w]` → `[B, T, h, w]`."""
        evidence = self._motion(video)
        colors = _Colors(video)
        probability = torch.sigmoid(evidence - 1)
        for _ in range(self.iterations):
            odds = COLOR_WEIGHT * colors.log_odds(probability)
            odds = odds + PLACE_WEIGHT * _nearness(probability)
            probability = torch.sigmoid(evidence + odds)
        return probability

    def _motion(self, video: Tensor) -> Tensor:
        """Log-odds `[B, T, h, w]` from differences to neighboring frames and to the median."""
        motion = gaussian_blur(moving_against_background(video), sigma=1.5)
        average = (motion.mean((1, 3), keepdim=True) + motion.mean((1, 2, 3), keepdim=True)) / 2
        # 0.02 of 3, the sum of the channels, is noise. No motion says less than much motion does:
        # parts of the actor may stand still.
        return (motion / (self.motion_level * (average + 0.02))).log().clamp(-2, 3)


def moving_against_background(video: Tensor) -> Tensor:
    """Color differences that the camera does not explain: `[B, 3, T, h, w]` → `[B, T, h, w]`.

    Per pixel the larger of the mean difference to the frame before and after, and of the
    difference to the temporal median of all frames brought to the middle frame's view. A
    difference to something outside the other view counts as 0.
    """
    clips, _, frames = video.shape[:3]
    path = camera_path(video)
    images = video.transpose(1, 2)

    there, inside = shift(images[:, 1:].flatten(0, 1), path.diff(dim=1).flatten(0, 1))
    change = (there - images[:, :-1].flatten(0, 1)).abs().sum(1, keepdim=True) * inside
    change = change[:, 0].unflatten(0, (clips, frames - 1))
    change = torch.cat([change[:, :1], (change[:, 1:] + change[:, :-1]) / 2, change[:, -1:]], 1)

    path = path.flatten(0, 1)
    aligned, inside = shift(images.flatten(0, 1), path)
    aligned, inside = (x.unflatten(0, (clips, frames)) for x in (aligned, inside))
    background = temporal_median(aligned, inside)[:, None].expand_as(images)
    background, inside = shift(background.flatten(0, 1), -path)
    residual = (background - images.flatten(0, 1)).abs().sum(1, keepdim=True) * inside
    return torch.maximum(change, residual[:, 0].unflatten(0, (clips, frames)))


def temporal_median(images: Tensor, known: Tensor) -> Tensor:
    """The lower median over time of what is known: `[B, T, C, h, w]`, bool `[B, T, 1, h, w]`.

    Frames are sorted pixel by pixel through a network of minima and maxima, ten times faster on a
    CPU than `nanmedian` of 8 frames.

    Returns:
        `[B, C, h, w]`; infinite where nothing is known.
    """
    frames = list(images.where(known, math.inf).unbind(1))
    count = len(frames)
    for turn in range(count):
        for i in range(turn % 2, count - 1, 2):
            pair = frames[i], frames[i + 1]
            frames[i], frames[i + 1] = torch.minimum(*pair), torch.maximum(*pair)
    middle = (known.sum(1, keepdim=True) - 1).clamp(min=0) // 2
    return torch.stack(frames, 1).gather(1, middle.expand(-1, -1, images.shape[2], -1, -1))[:, 0]


class _Colors:
    """The colors of clips `[B, 3, T, h, w]`, counted in CELLS × CELLS parts of the frame.

    Counts are blurred over neighboring parts and interpolated between the parts' centers.
    """

    def __init__(self, video: Tensor) -> None:
        colors = color_index(video)
        self.shape = colors.shape
        rows, columns = (_Parts(size, video.device) for size in self.shape[2:])
        part = rows.index[:, None] * CELLS + columns.index
        self.bins = (part * NUM_COLORS + colors).flatten(1)
        self.blur = gaussian_weights(CELLS, 0.7, video.device)
        self.total = self._count(torch.ones_like(video[:, 0]))
        # Where to look up histograms by part, and by row of parts: bins and weights.
        self.by_row = [
            ((row[:, None] * NUM_COLORS + colors).flatten(1), weight[:, None])
            for row, weight in rows.neighbors
        ]
        self.by_part = [
            (
                ((row[:, None] * CELLS + column) * NUM_COLORS + colors).flatten(1),
                row_weight[:, None] * column_weight,
            )
            for row, row_weight in rows.neighbors
            for column, column_weight in columns.neighbors
        ]

    def log_odds(self, probability: Tensor) -> Tensor:
        """Foreground nearby against background at its height, `[B, T, h, w]` for every pixel."""
        foreground = self._count(probability)
        background = (self.total - foreground).mean(2)
        foreground = torch.einsum("yr,xq,brqc->byxc", self.blur, self.blur, foreground)
        background = torch.einsum("yr,brc->byc", self.blur, background)
        # A twentieth of a pixel more each: a color that was never seen speaks for nothing.
        likely = self._look_up(foreground, self.by_part) + 0.05
        unlikely = self._look_up(background, self.by_row) + 0.05
        return (likely / unlikely).log().clamp(-4, 4)

    def _count(self, weights: Tensor) -> Tensor:
        """Histograms `[B, CELLS, CELLS, colors]` of pixels with weights `[B, T, h, w]`."""
        counts = weights.new_zeros(len(weights), CELLS * CELLS * NUM_COLORS)
        counts.scatter_add_(1, self.bins, weights.flatten(1))
        return counts.view(-1, CELLS, CELLS, NUM_COLORS)

    def _look_up(self, counts: Tensor, places: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Histograms interpolated at every pixel's place and color → `[B, T, h, w]`."""
        counts = counts.flatten(1)
        found = [weight * counts.gather(1, bins).view(self.shape) for bins, weight in places]
        return torch.stack(found).sum(0)


def color_index(video: Tensor) -> Tensor:
    """The histogram bin of every pixel of clips `[B, 3, T, h, w]` → int64 `[B, T, h, w]`."""
    red, green, blue = video.unbind(1)
    # The two differences are stretched, as colors at their ends hardly occur.
    axes = (
        (red + green + blue) / 3,
        (red - blue) / 1.2 + 0.5,
        (green - (red + blue) / 2) / 0.8 + 0.5,
    )
    index = torch.zeros_like(red, dtype=torch.long)
    for axis, bins in zip(axes, COLOR_BINS, strict=True):
        index = index * bins + (axis * bins).long().clamp(0, bins - 1)
    return index


class _Parts:
    """A side of the frame in CELLS parts, seen from each of its pixels."""

    def __init__(self, size: int, device: torch.device) -> None:
        place = (torch.arange(size, device=device) + 0.5) * CELLS / size
        self.index = place.long()
        """`[size]` the part a pixel lies in."""
        # The centers of the parts lie at halves.
        place = (place - 0.5).clamp(0, CELLS - 1)
        lower = place.long().clamp(max=CELLS - 2)
        upper = place - lower
        self.neighbors = (lower, 1 - upper), (lower + 1, upper)
        """The two parts whose centers are nearest to a pixel, and their weights, `[size]` each."""


def _nearness(probability: Tensor) -> Tensor:
    """REACH² minus the squared distance to the foreground's center in standard deviations.

    `[B, T, h, w]` → `[B, 1, h, w]`; center and extent are those of all frames together.
    """
    weight = probability**2
    result = probability.new_full((1,), REACH**2)
    for side, other in ((2, 3), (3, 2)):
        share = weight.sum((1, other))
        share = share / share.sum(1, keepdim=True).clamp(min=1e-6)
        place = (torch.arange(weight.shape[side], device=weight.device) + 0.5) / weight.shape[side]
        offset = place - (share * place).sum(1, keepdim=True)
        variance = (share * offset**2).sum(1, keepdim=True)
        # At least about 5 % of the frame's side: a point would keep everything else out.
        distance = offset**2 / (variance + 0.003)
        result = result - distance.unsqueeze(1).unsqueeze(other)
    return result
