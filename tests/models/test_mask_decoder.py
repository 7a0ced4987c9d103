import torch

from devias.models.mask_decoder import MaskDecoder, PixelDecoder, decode


def test_is_an_mlp_with_relu_between_and_raw_logits():
    decoder = MaskDecoder(5, 6, hidden_dims=(4, 3))
    slots = torch.randn(2, 7, 5)
    x = slots
    parameters = list(decoder.parameters())
    assert [tuple(p.shape) for p in parameters[::2]] == [(4, 5), (3, 4), (6, 3)]
    for i in range(0, 6, 2):
        x = x @ parameters[i].T + parameters[i + 1]
        x = x.clamp(min=0) if i < 4 else x
    torch.testing.assert_close(decoder(slots), x)
    assert x.min() < 0


def test_hidden_layers_may_be_left_out():
    decoder = MaskDecoder(5, 6, hidden_dims=())
    assert [tuple(p.shape) for p in decoder.parameters()] == [(6, 5), (6,)]
    assert decoder(torch.randn(2, 7, 5)).shape == (2, 7, 6)


def test_pixels_are_three_values_a_patch():
    decoder = PixelDecoder(5, 6, hidden_dims=(4,))
    assert decoder(torch.randn(2, 7, 5)).shape == (2, 7, 18)


def test_what_is_decoded_goes_where_it_belongs():
    slots = torch.randn(2, 7, 5)
    assert decode(None, slots) == {}
    for decoder, field in ((MaskDecoder(5, 6), "mask_logits"), (PixelDecoder(5, 6), "pixels")):
        (decoded,) = decode(decoder, slots).items()
        assert decoded[0] == field
        torch.testing.assert_close(decoded[1], decoder(slots))
