"""ViTs without slot attention: one-token, two-token and single-task baselines, the scene model."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from devias.models.architecture import recorded
from devias.models.backbone import VideoViT
from devias.models.devias import check_widths
from devias.models.heads import SeparateHeads, UnifiedHead
from devias.models.mask_decoder import MaskDecoder, decode
from devias.models.segmentation_decoder import SegmentationDecoder
from devias.structures import SlotPrediction


@recorded
class TokenViT(nn.Module):
    """A ViT whose slots are its own tokens, or the mean of its patches.

    Two-token: `num_tokens=2` in the backbone. One-token: `num_tokens=1` or mean pooling; both
    roles read the one token, which separate heads see as two equal slots. Single-task: a
    `UnifiedHead` with `num_actions=0` or `num_scenes=0`.

    Args:
        backbone: with extra tokens and a final norm for `"tokens"`, with neither for `"mean"`.
        head: unified or separate.
        pooling: `"tokens"` takes the extra tokens; `"mean"` averages the patches and then applies
            a layer norm, as VideoMAE's fine-tuning does.
        mask_decoder: for mask prediction without slot attention.
        segmentation_decoder: for pretraining the backbone to segment the actor.

    Raises:
        ValueError: the parts do not fit together.
    """

    def __init__(
        self,
        backbone: VideoViT,
        head: UnifiedHead | SeparateHeads,
        pooling: Literal["tokens", "mean"] = "tokens",
        mask_decoder: MaskDecoder | None = None,
        segmentation_decoder: SegmentationDecoder | None = None,
    ) -> None:
        super().__init__()
        check_widths(
            backbone,
            head=head,
            mask_decoder=mask_decoder,
            segmentation_decoder=segmentation_decoder,
        )
        if pooling not in ("tokens", "mean"):
            raise ValueError(f"pooling must be 'tokens' or 'mean', got {pooling!r}")
        has_norm = not isinstance(backbone.norm, nn.Identity)
        if pooling == "tokens" and not (backbone.num_tokens and has_norm):
            raise ValueError("pooling 'tokens' needs num_tokens >= 1 and final_norm=True")
        if pooling == "mean" and (backbone.num_tokens or has_norm):
            raise ValueError("pooling 'mean' needs num_tokens=0 and final_norm=False")
        if isinstance(head, SeparateHeads) and backbone.num_tokens > head.min_slots:
            raise ValueError(f"separate heads read 2 tokens, got {backbone.num_tokens}")
        self.backbone = backbone
        self.fc_norm = (
            nn.LayerNorm(backbone.embed_dim, eps=1e-6) if pooling == "mean" else nn.Identity()
        )
        self.head = head
        self.mask_decoder = mask_decoder
        self.segmentation_decoder = segmentation_decoder
        self.pooling = pooling

    def forward(self, video: Tensor) -> SlotPrediction:
        """Predict from normalized clips `[B, 3, T, H, W]`; there is no attention to return."""
        x = self.backbone(video)
        if self.pooling == "mean":
            slots = self.fc_norm(x.mean(1, keepdim=True))
        else:
            slots = x[:, : self.backbone.num_tokens]
        if slots.shape[1] < self.head.min_slots:
            slots = slots.expand(-1, self.head.min_slots, -1)
        return SlotPrediction(
            slots=slots,
            logits=self.head(slots),
            num_actions=self.head.num_actions,
            grid=self.backbone.grid,
            segmentation_logits=self._silhouettes(x),
            **decode(self.mask_decoder, slots),
        )

    def _silhouettes(self, x: Tensor) -> Tensor | None:
        if self.segmentation_decoder is None:
            return None
        return self.segmentation_decoder(x[:, self.backbone.num_tokens :], self.backbone.grid)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay must leave alone (timm's protocol)."""
        return {f"backbone.{name}" for name in self.backbone.no_weight_decay()}

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Layers for layer-wise learning-rate decay; all after the backbone is the last one."""
        return self.backbone.group_matcher(coarse, prefix="backbone.")
