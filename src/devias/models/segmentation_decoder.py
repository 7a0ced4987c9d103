"""Actor segmentation from a backbone's tokens, for supervised pretraining."""

from __future__ import annotations

from torch import Tensor, nn

from devias.models.architecture import recorded
from devias.models.backbone import Grid


@recorded
class SegmentationDecoder(nn.Module):
    """Each token tells where in its own tubelet the actor is, on `cells`² cells a frame.

    A dense task: a small ViT trained on class labels alone stays at chance for many epochs, since
    one label a clip says too little about where to look.

    Args:
        dim: D of the tokens.
        tubelet_size: frames a token spans.
        cells: cells along a side of a patch; more than 1 to tell limbs apart.
    """

    def __init__(self, dim: int, tubelet_size: int = 2, cells: int = 4) -> None:
        super().__init__()
        self.dim = dim
        self.shape = (tubelet_size, cells, cells)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fc = nn.Linear(dim, tubelet_size * cells * cells)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Tokens `[B, N, D]` of a grid `(T', h, w)` → logits `[B, T, h·cells, w·cells]`."""
        logits = self.fc(self.norm(tokens)).unflatten(2, self.shape).unflatten(1, grid)
        # [B, T', h, w, frames, rows, columns] → [B, T', frames, h, rows, w, columns]
        logits = logits.permute(0, 1, 4, 2, 5, 3, 6)
        return logits.flatten(5, 6).flatten(3, 4).flatten(1, 2)
