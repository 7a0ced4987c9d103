"""Released weights, loaded alone or by a training run with `compat=official`: one model."""

import pytest
import torch

from devias import load_model
from devias.config import compose
from devias.models.architecture import describe
from helpers import run_parts
from released_layout import by_formula, devias_shapes

DIM, PATCH, FRAMES, SIZE = 12, 4, 4, 8


def overrides(depth, rounds, slots, tied, actions, scenes):
    return (
        "data=ucf101",
        "compat=official",
        f"data.num_actions={actions}",
        f"data.num_scenes={scenes}",
        f"data.image_size={SIZE}",
        f"data.clip_length={FRAMES}",
        f"backbone.patch_size={PATCH}",
        f"backbone.embed_dim={DIM}",
        f"backbone.depth={depth}",
        "backbone.num_heads=2",
        f"model.slot_attention.num_slots={slots}",
        f"model.slot_attention.iterations={rounds}",
        f"model.slot_attention.shared={str(tied).lower()}",
        "model.slot_attention.head_dim=2",
        "decoder.hidden_dims=[6,5]",
        "trainer.accelerator=cpu",
    )


@pytest.mark.parametrize(
    ("depth", "rounds", "slots", "tied", "actions", "scenes"),
    [
        (1, 1, 2, True, 3, 4),
        (2, 4, 2, True, 5, 9),
        (3, 3, 5, True, 11, 2),
        (2, 3, 2, False, 7, 7),
        (1, 8, 3, False, 2, 13),
    ],
)
def test_training_starts_where_loading_ends(tmp_path, depth, rounds, slots, tied, actions, scenes):
    classes, mask = actions + scenes, (6, 5, (SIZE // PATCH) ** 2)
    shapes = devias_shapes(
        DIM, depth, rounds, slots, classes, inner=8, mask=mask, patch=PATCH, hidden=4 * DIM
    )
    path = tmp_path / "released.pth"
    torch.save({"module": by_formula(shapes, tied)}, path)
    sizes = {"num_frames": FRAMES, "num_heads": 2, "image_size": SIZE}
    loaded = load_model(path, actions, scenes, "official", **sizes)

    config = compose(*overrides(depth, rounds, slots, tied, actions, scenes), f"weights={path}")
    trained = run_parts(config)[0].model.eval()

    ours, theirs = describe(trained), describe(loaded)
    # Of training alone: stochastic depth and the weights before those that are loaded.
    ours["backbone"]["drop_path_rate"] = theirs["backbone"]["drop_path_rate"]
    ours["slot_attention"]["init"] = theirs["slot_attention"]["init"]
    ours["head"]["init_scale"] = theirs["head"]["init_scale"]
    assert ours == theirs
    assert ours["slot_attention"]["key_normalization"] == "l1"
    torch.testing.assert_close(dict(trained.state_dict()), dict(loaded.state_dict()))
    video = torch.randn(2, 3, FRAMES, SIZE, SIZE)
    first, second = trained(video), loaded(video)
    torch.testing.assert_close(first.logits, second.logits)
    torch.testing.assert_close(first.attention, second.attention)
    assert first.num_actions == second.num_actions == actions


def test_the_paper_normalizes_otherwise(tmp_path):
    shapes = devias_shapes(DIM, 1, 2, 2, 9, inner=8, mask=(4,), patch=PATCH)
    path = tmp_path / "released.pth"
    torch.save({"model": by_formula(shapes)}, path)
    sizes = {"num_frames": FRAMES, "num_heads": 2, "image_size": SIZE}
    paper, official = (load_model(path, 5, 4, compat, **sizes) for compat in ("paper", "official"))
    compat = {
        name: compose(f"compat={name}").model.slot_attention.key_normalization
        for name in ("paper", "official")
    }
    assert compat["paper"] == describe(paper)["slot_attention"]["key_normalization"] == "l2"
    assert compat["official"] == describe(official)["slot_attention"]["key_normalization"] == "l1"
    video = torch.randn(2, 3, FRAMES, SIZE, SIZE)
    assert (paper(video).logits - official(video).logits).abs().max() > 1e-3
