"""The containers that travel between data, models and losses."""

import torch

from devias.structures import SlotPrediction


def test_halves_split_every_tensor_over_the_clips():
    both = SlotPrediction(
        slots=torch.rand(6, 2, 4),
        logits=torch.rand(6, 2, 5),
        num_actions=3,
        grid=(1, 2, 2),
        attention=torch.rand(6, 4, 2, 4),
        pixels=torch.rand(6, 2, 12),
    )
    first, second = both.halves()
    for half, clips in ((first, slice(0, 3)), (second, slice(3, 6))):
        for name in ("slots", "logits", "attention", "pixels"):
            assert torch.equal(getattr(half, name), getattr(both, name)[clips])
        assert (half.num_actions, half.grid, half.mask_logits) == (3, (1, 2, 2), None)
