"""FAME written step by step as it was released: one motion map at a time, nothing shared.

It is the oracle of the tests and the yardstick of the benchmark.
"""

import math

import torch
import torch.nn.functional as F


def recreate_fame(video, beta=0.5, crop_size=112, eps=1e-8):
    """Clips `[B, 3, T, H, W]` in [0, 1] → clip masks `[B, H, W]`, frame masks `[B, T/2, H, W]`."""
    size = int(0.1 * crop_size) // 2 * 2 + 1
    steps = (video[:, :, :-1] - video[:, :, 1:]).abs().sum(1).mean(1)
    clip_mask = segment(normalize(blur(steps, size), eps), video, beta, size, eps)
    frame_masks = []
    for t in range(0, video.shape[2], 2):
        step = (video[:, :, t] - video[:, :, t + 1]).abs().sum(1)
        frame_masks.append(segment(normalize(blur(step, size), eps), video, beta, size, eps))
    return clip_mask, torch.stack(frame_masks, 1)


def segment(motion, video, beta, size, eps):
    clips, _, _, height, width = video.shape
    pixels = height * width
    color = color_of(video.mean(2), eps).flatten(1)
    top = motion.flatten(1).topk(int(0.5 * pixels))[1]
    bottom = motion.flatten(1).topk(int(0.1 * pixels), largest=False)[1]
    share = []
    for where, start in ((top, 0), (bottom, 1)):
        count = torch.full((clips, 1001), start, dtype=torch.long)
        count[:, 0] = 0  # colors count from 1
        count.scatter_add_(1, color.gather(1, where), torch.ones_like(where))
        share.append(count.float() / (count.float().sum(1, keepdim=True) + eps))
    foreground, background = (s.gather(1, color) for s in share)
    likeness = (foreground / (background + foreground)).unflatten(1, (height, width))
    likeness = normalize(blur(likeness, size), eps).flatten(1)
    mask = torch.zeros_like(likeness)
    for clip, chosen in enumerate(likeness.topk(int(beta * pixels))[1]):
        mask[clip, chosen] = 1
    return mask.unflatten(1, (height, width))


def blur(maps, size):
    x = torch.arange(size) - size // 2
    weight = torch.exp(-(x**2) / (2 * (size / 3) ** 2))
    weight = weight / weight.sum()
    padded = F.pad(maps[:, None], [size // 2] * 4, mode="reflect")
    padded = F.conv2d(padded, weight.view(1, 1, 1, size))
    return F.conv2d(padded, weight.view(1, 1, size, 1))[:, 0]


def normalize(maps, eps):
    maps = maps - maps.amin((1, 2), keepdim=True)
    return maps / (maps.amax((1, 2), keepdim=True) + eps)


def color_of(image, eps):
    """Bins of hue (as x and y on the color disc, the hue's 2π applied twice) and value, from 1."""
    high, which = image.max(1)
    low = image.min(1)[0]
    delta = high - low
    saturation = delta / (high + eps)
    delta = torch.where(delta == 0, 1, delta)
    r, g, b = (high - image[:, c] for c in range(3))
    hue = torch.stack([b - g, r - b + 2 * delta, g - r + 4 * delta], 1) / delta[:, None]
    hue = (hue.gather(1, which[:, None])[:, 0] / 6) % 1 * 2 * math.pi
    x = (saturation * torch.cos(hue * 2 * math.pi) + 1) / 2
    y = (saturation * torch.sin(hue * 2 * math.pi) + 1) / 2
    x, y, z = (torch.round(axis * 9 + 1) for axis in (x, y, high))
    return (x + (y - 1) * 10 + (z - 1) * 100).long()
