"""DEVIAS: a video ViT whose tokens are bound to an action slot and a scene slot."""

from __future__ import annotations

from torch import Tensor, nn

from devias.models.architecture import recorded
from devias.models.backbone import VideoViT
from devias.models.heads import SeparateHeads, UnifiedHead
from devias.models.mask_decoder import MaskDecoder, decode
from devias.models.slot_attention import SlotAttention
from devias.structures import SlotPrediction


@recorded
class DEVIAS(nn.Module):
    """The disentangling encoder, its head and, for training, the mask decoder.

    Which slot is the action and which the scene is decided outside, by matching.

    Raises:
        ValueError: the parts do not fit together.
    """

    def __init__(
        self,
        backbone: VideoViT,
        slot_attention: SlotAttention,
        head: UnifiedHead | SeparateHeads,
        mask_decoder: MaskDecoder | None = None,
    ) -> None:
        super().__init__()
        check_widths(backbone, slot_attention=slot_attention, head=head, mask_decoder=mask_decoder)
        if backbone.num_tokens:
            raise ValueError("DEVIAS has slots, not extra tokens: set the backbone's num_tokens 0")
        if isinstance(head, SeparateHeads) and slot_attention.num_slots != head.min_slots:
            raise ValueError(f"separate heads need 2 slots, got {slot_attention.num_slots}")
        self.backbone = backbone
        self.slot_attention = slot_attention
        self.head = head
        self.mask_decoder = mask_decoder

    def forward(self, video: Tensor) -> SlotPrediction:
        """Predict from normalized clips `[B, 3, T, H, W]`."""
        slots, attention = self.slot_attention(self.backbone(video))
        return SlotPrediction(
            slots=slots,
            logits=self.head(slots),
            num_actions=self.head.num_actions,
            grid=self.backbone.grid,
            attention=attention,
            **decode(self.mask_decoder, slots),
        )

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay must leave alone (timm's protocol)."""
        return {f"backbone.{name}" for name in self.backbone.no_weight_decay()}

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Layers for layer-wise learning-rate decay; all after the backbone is the last one."""
        return self.backbone.group_matcher(coarse, prefix="backbone.")


def check_widths(backbone: VideoViT, **parts: nn.Module | None) -> None:
    """Raise `ValueError` naming the first part whose `dim` is not the backbone's width."""
    for name, part in parts.items():
        if part is not None and part.dim != backbone.embed_dim:
            raise ValueError(
                f"{name} has dim {part.dim}, but the backbone's embed_dim is {backbone.embed_dim}"
            )
