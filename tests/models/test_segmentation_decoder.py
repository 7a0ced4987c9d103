import torch

from devias.models.segmentation_decoder import SegmentationDecoder


def test_each_token_draws_its_own_cells():
    """Token (t', i, j) decides frames 2t'…, rows i·cells… and columns j·cells…, nothing else."""
    decoder = SegmentationDecoder(dim=5, tubelet_size=2, cells=3)
    tokens = torch.zeros(1, 2 * 2 * 4, 5)
    before = decoder(tokens, (2, 2, 4))
    assert before.shape == (1, 4, 6, 12)
    tokens[0, 1 * 8 + 0 * 4 + 2] = torch.tensor([1.0, -1.0, 0.5, 2.0, 0.0])  # t'=1, i=0, j=2
    changed = (decoder(tokens, (2, 2, 4)) - before).abs() > 1e-6
    expected = torch.zeros_like(changed)
    expected[0, 2:4, 0:3, 6:9] = True
    assert torch.equal(changed, expected)


def test_cells_lie_row_by_row_within_frames():
    decoder = SegmentationDecoder(dim=4, tubelet_size=2, cells=2)
    torch.nn.init.zeros_(decoder.fc.weight)
    decoder.fc.bias.data = torch.arange(8.0)  # frame 0: rows 01, 23; frame 1: rows 45, 67
    logits = decoder(torch.zeros(1, 1, 4), (1, 1, 1))
    assert logits[0].tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
