"""The video Vision Transformer every model of the package is built on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.init import trunc_normal_
from torch.utils.checkpoint import checkpoint

from devias.models.architecture import recorded

Grid = tuple[int, int, int]
"""`(T', h, w)`: tubelets in time, patch rows, patch columns."""


@recorded
class VideoViT(nn.Module):
    """A plain ViT over tubelets, as VideoMAE fine-tunes it (Tong et al. 2022).

    Tubelets of `tubelet_size` frames × `patch_size`² pixels become tokens, time-major and then
    row by row; positions are fixed sine-cosine values of that flattened index. Blocks and
    parameter names are timm's.

    Args:
        image_size: pixels, one side of a square or `(height, width)`.
        num_frames: T, frames of a clip.
        patch_size: pixels, one side of a square patch.
        tubelet_size: frames a token spans.
        embed_dim: D.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: hidden width of a block's MLP over D.
        drop_path_rate: stochastic depth of the last block, growing linearly from 0.
        num_tokens: learnable tokens put before the patches: class and scene tokens.
        final_norm: whether a layer norm follows the last block; mean-pooling models have theirs
            after the pooling instead.
        gradient_checkpointing: recompute each block in the backward pass to save memory.

    Raises:
        ValueError: a size is not a multiple of its patch or tubelet size.
    """

    pos_embed: Tensor

    def __init__(
        self,
        image_size: int | Sequence[int] = 224,
        num_frames: int = 16,
        patch_size: int = 16,
        tubelet_size: int = 2,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        num_tokens: int = 0,
        final_norm: bool = True,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.input_size = (num_frames, height, width)
        self.grid = token_grid(self.input_size, (tubelet_size, patch_size, patch_size))
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
        self.embed_dim = embed_dim
        self.depth = depth
        self.num_tokens = num_tokens
        self.gradient_checkpointing = gradient_checkpointing

        self.patch_embed = TubeletEmbedding(tubelet_size, patch_size, embed_dim)
        if num_tokens:
            self.tokens = nn.Parameter(torch.empty(1, num_tokens, embed_dim))
        # Kept in checkpoints: positions taken over from other weights must travel with them.
        self.register_buffer("pos_embed", sincos_positions(self.grid, embed_dim, num_tokens))

        # VideoMAE's epsilon; PyTorch's default is 1e-5.
        norm_layer = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.ModuleList(
            Block(
                embed_dim,
                num_heads,
                mlp_ratio=mlp_ratio,
                qkv_bias=True,
                drop_path=rate,
                norm_layer=norm_layer,  # type: ignore[arg-type]
            )
            for rate in torch.linspace(0, drop_path_rate, depth, device="cpu").tolist()
        )
        self.norm = norm_layer(embed_dim) if final_norm else nn.Identity()
        self.apply(_init_weights)
        if num_tokens:
            trunc_normal_(self.tokens, std=0.02)

    def forward(self, video: Tensor) -> Tensor:
        """Embed normalized clips `[B, 3, T, H, W]` → tokens `[B, num_tokens + N, D]`.

        Raises:
            ValueError: the clips are not of the size this model was built for.
        """
        if video.ndim != 5 or tuple(video.shape[2:]) != self.input_size:
            expected = ", ".join(map(str, self.input_size))
            raise ValueError(
                f"this backbone takes clips [B, 3, {expected}], got {list(video.shape)}; "
                "set its num_frames and image_size to those of the data"
            )
        x = self.patch_embed(video)
        if self.num_tokens:
            x = torch.cat([self.tokens.expand(len(x), -1, -1), x], dim=1)
        x = x + self.pos_embed
        for block in self.blocks:
            if self.gradient_checkpointing and self.training:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return self.norm(x)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay must leave alone (timm's protocol)."""
        return {"pos_embed", "tokens"}

    def group_matcher(self, coarse: bool = False, prefix: str = "") -> dict[str, str]:
        """Assign parameters to layers for layer-wise learning-rate decay (timm's protocol).

        The embedding is layer 0 and block i is layer i + 1; all else, the final norm included,
        matches nothing and so lands in the last layer, as in BEiT and VideoMAE.

        Args:
            coarse: accepted for timm; the grouping is the same.
            prefix: where this module sits in the model, as `"backbone."`.
        """
        prefix = prefix.replace(".", r"\.")
        return {
            "stem": rf"^{prefix}(?:patch_embed|pos_embed|tokens)",
            "blocks": rf"^{prefix}blocks\.(\d+)",
        }


class TubeletEmbedding(nn.Module):
    """Cut clips into tubelets and project each linearly."""

    def __init__(self, tubelet_size: int, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        size = (tubelet_size, patch_size, patch_size)
        self.proj = nn.Conv3d(3, embed_dim, kernel_size=size, stride=size)

    def forward(self, video: Tensor) -> Tensor:
        """`[B, 3, T, H, W]` → `[B, N, D]`."""
        return self.proj(video).flatten(2).transpose(1, 2)


def token_grid(input_size: Grid, patch: Grid) -> Grid:
    """Divide a clip's `(T, H, W)` by a tubelet's.

    Raises:
        ValueError: one of them does not divide.
    """
    for name, size, step in zip(("num_frames", "height", "width"), input_size, patch, strict=True):
        if size < step or size % step:
            kind = "tubelet_size" if name == "num_frames" else "patch_size"
            raise ValueError(f"{name} {size} is not a multiple of {kind} {step}")
    frames, rows, columns = (size // step for size, step in zip(input_size, patch, strict=True))
    return frames, rows, columns


def sincos_positions(grid: Grid, dim: int, num_tokens: int = 0) -> Tensor:
    """Sine-cosine positions of the extra tokens and of the flattened grid.

    As in the released models with class tokens, the first extra token is position 0 and moves the
    patches on by one; further ones follow the last patch.

    Returns:
        `[1, num_tokens + N, dim]`, extra tokens first.
    """
    num_patches = grid[0] * grid[1] * grid[2]
    index = torch.arange(num_patches + num_tokens, dtype=torch.float64)
    channel = torch.arange(dim, dtype=torch.float64)
    # Channels 2i and 2i+1 share the wavelength 2π · 10000^(2i/D).
    angle = index[:, None] / 10000 ** (2 * (channel // 2) / dim)
    table = torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()
    if num_tokens:
        first, patches, rest = table.split([1, num_patches, num_tokens - 1])
        table = torch.cat([first, rest, patches])
    return table[None]


def interpolate_positions(positions: Tensor, source: Grid, target: Grid) -> Tensor:
    """Resample patch positions `[1, N, D]` from one grid to another → `[1, N', D]`."""
    if source == target:
        return positions
    volume = positions.transpose(1, 2).unflatten(2, source)
    resampled = F.interpolate(volume, size=target, mode="trilinear", align_corners=False)
    return resampled.flatten(2).transpose(1, 2).contiguous()


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
