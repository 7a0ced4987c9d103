"""State dicts as the released code names them, with values made by formula or at random."""

import functools
import zlib

import numpy as np
import torch


def vit_shapes(dim, depth, patch=16, tubelet=2, hidden=None):
    """Names and shapes of a released ViT without head and final norm."""
    hidden = hidden or 4 * dim
    shapes = {"patch_embed.proj.weight": (dim, 3, tubelet, patch, patch)}
    shapes["patch_embed.proj.bias"] = (dim,)
    for i in range(depth):
        layers = {
            "norm1.weight": (dim,),
            "norm1.bias": (dim,),
            "attn.q_bias": (dim,),
            "attn.v_bias": (dim,),
            "attn.qkv.weight": (3 * dim, dim),
            "attn.proj.weight": (dim, dim),
            "attn.proj.bias": (dim,),
            "norm2.weight": (dim,),
            "norm2.bias": (dim,),
            "mlp.fc1.weight": (hidden, dim),
            "mlp.fc1.bias": (hidden,),
            "mlp.fc2.weight": (dim, hidden),
            "mlp.fc2.bias": (dim,),
        }
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in layers.items()}
    return shapes


def linear(name, rows, columns):
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def norm(name, dim):
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def round_shapes(i, dim, inner):
    """One round of the released slot attention."""
    layer = f"agg_block.layers.{i}"
    shapes = {f"{layer}.0.fn.to_{x}.weight": (inner, dim) for x in "qkv"}
    shapes |= linear(f"{layer}.0.fn.to_out.0", dim, inner)
    shapes |= norm(f"{layer}.0.norm", dim) | norm(f"{layer}.0.norm_context", dim)
    shapes |= linear(f"{layer}.2.fn.net.0", 4 * dim, dim)
    shapes |= linear(f"{layer}.2.fn.net.3", dim, 4 * dim)
    return shapes | norm(f"{layer}.2.norm", dim)


def devias_shapes(dim, depth, rounds, slots, classes, inner, mask=(512, 256, 196), **vit):
    shapes = vit_shapes(dim, depth, **vit) | norm("norm", dim)
    shapes |= {"agg_block.latents": (slots, dim)} | norm("agg_block.last_layer.0", dim)
    for i in range(rounds):
        shapes |= round_shapes(i, dim, inner)
    for layer, (rows, columns) in enumerate(zip(mask, (dim, *mask), strict=False)):
        shapes |= linear(f"mask_predictor.decoder.{2 * layer}", rows, columns)
    return shapes | linear("head", classes, dim)


@functools.cache
def value(name, shape):
    """The value a parameter of this name has in the reference numbers."""
    x = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("latents") or "token" in name:
        pass
    elif len(shape) >= 2:
        x = x / np.sqrt(np.prod(shape[1:]))
    elif ("norm" in name and name.endswith("weight")) or name.endswith("last_layer.0.weight"):
        x = 1 + 0.1 * x
    else:
        x = 0.1 * x
    return torch.from_numpy(x.astype(np.float32))


def by_formula(shapes, tied=True):
    """Values by formula; tied rounds of slot attention repeat the first."""
    state = {}
    for name, shape in shapes.items():
        *head, rest = name.split("agg_block.layers.")
        first = f"agg_block.layers.0.{rest.partition('.')[2]}" if head and tied else name
        state[name] = state[first] if first in state else value(first, shape)
    return state


@functools.cache
def formula_clip(seed, clips=2):
    """The first of the reference's two clips, or both."""
    video = np.random.default_rng(seed).standard_normal((2, 3, 16, 224, 224))
    return torch.from_numpy(video[:clips].astype(np.float32))
