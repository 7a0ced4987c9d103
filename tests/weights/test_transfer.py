"""From any weights of a whole model to a transferred one, and back from its own."""

import pytest
import torch

from devias import load_model
from devias.models.architecture import describe
from devias.models.backbone import VideoViT
from devias.models.baselines import TokenViT
from devias.models.devias import DEVIAS
from devias.models.heads import SeparateHeads, UnifiedHead
from devias.models.mask_decoder import MaskDecoder
from devias.models.slot_attention import SlotAttention
from devias.models.transfer import SlotClassifier, TransferModel
from devias.weights.assign import load_backbone, load_weights
from devias.weights.errors import WeightsError
from devias.weights.infer import load_vit
from devias.weights.transfer import source_architecture, transfer_model
from devias.weights.write import save_released, save_weights
from released_layout import by_formula, devias_shapes

DIM = 12


def classifier(dim):
    return SlotClassifier(dim, 5)


def backbone(**change):
    return VideoViT(**{"image_size": 8, "num_frames": 4, "patch_size": 4, "embed_dim": DIM,
                       "depth": 2, "num_heads": 2, **change})  # fmt: skip


def devias():
    return DEVIAS(backbone(), SlotAttention(DIM, 3, head_dim=2), UnifiedHead(DIM, 4, 3),
                  MaskDecoder(DIM, 4))  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    """The weights of a DEVIAS and of the model transferred from it."""
    source = devias()
    save_weights(source, tmp_path / "source.safetensors")
    model = transfer_model(classifier, tmp_path / "source.safetensors", drop_path_rate=0.5).eval()
    torch.save(
        {
            "state_dict": {f"model.{name}": value for name, value in model.state_dict().items()},
            "architecture": describe(model),
        },
        tmp_path / "transferred.ckpt",
    )
    return tmp_path, source, model


def test_the_source_is_taken_over_whole_but_for_what_trained_it(saved):
    _, source, model = saved
    state = source.state_dict()
    taken = model.source.state_dict()
    assert taken.keys() == {name for name in state if not name.startswith("mask_decoder")}
    assert all(torch.equal(taken[name], state[name]) for name in taken)
    assert describe(model)["source"]["backbone"]["drop_path_rate"] == 0.5
    assert describe(model)["assignment"] == "hungarian"


def test_a_checkpoint_of_it_is_loaded_and_exported(saved):
    folder, _, model = saved
    video = torch.randn(2, 3, 4, 8, 8)
    loaded = load_model(folder / "transferred.ckpt", num_actions=5)
    assert isinstance(loaded, TransferModel)
    torch.testing.assert_close(loaded(video).logits, model(video).logits)
    save_weights(loaded, folder / "again.safetensors")
    again = load_model(folder / "again.safetensors")
    torch.testing.assert_close(again(video).logits, model(video).logits)
    with pytest.raises(WeightsError, match="num_actions is 5, not 4"):
        load_model(folder / "transferred.ckpt", num_actions=4)
    with pytest.raises(WeightsError, match="for whole models, not a TransferModel"):
        save_released(loaded, folder / "released.pth")


def test_other_models_start_from_it(saved):
    folder, source, model = saved
    path = folder / "transferred.ckpt"
    video = torch.randn(2, 3, 4, 8, 8)
    torch.testing.assert_close(load_vit(path)(video), source.backbone.eval()(video))
    fresh = backbone()
    load_backbone(fresh, path)
    torch.testing.assert_close(fresh.eval()(video), source.backbone(video))
    # Transferred once more, the model below it is the source.
    twice = transfer_model(classifier, path).eval()
    torch.testing.assert_close(twice.source(video).logits, model.source(video).logits)
    other = TransferModel(devias(), classifier(DIM))
    report = load_weights(other, path, strict=False)
    assert set(report.new) == {n for n in other.source.state_dict() if n.startswith("mask_")}
    torch.testing.assert_close(other.eval()(video).logits, model(video).logits)


def test_tokens_have_fixed_roles(tmp_path):
    save_weights(TokenViT(backbone(num_tokens=2), SeparateHeads(DIM, 4, 3)), tmp_path / "w")
    assert transfer_model(classifier, tmp_path / "w").matcher.assignment == "fixed"
    assert transfer_model(classifier, tmp_path / "w", assignment="greedy").matcher.assignment == (
        "greedy"
    )


def test_released_weights_are_a_source_and_clips_may_have_another_size(tmp_path):
    shapes = devias_shapes(DIM, 2, 3, 3, 9, 8, mask=(6, 4), patch=4, hidden=20)
    state = by_formula(shapes)
    torch.save({"model": state, "args": None}, tmp_path / "x.pth")
    model = load_model(tmp_path / "x.pth", 5, num_frames=4, image_size=8, num_heads=2)
    save_weights(model, tmp_path / "x.safetensors")
    longer = transfer_model(classifier, tmp_path / "x.safetensors", num_frames=8)
    assert longer.eval()(torch.randn(1, 3, 8, 8, 8)).logits.shape == (1, 1, 5)
    with pytest.raises(WeightsError, match="do not say on what clips they were trained"):
        source_architecture(tmp_path / "x.pth")


def test_what_is_no_source_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"model\.source=CHECKPOINT"):
        transfer_model(classifier)
    save_weights(backbone(), tmp_path / "vit.safetensors")
    with pytest.raises(WeightsError, match="has no head, which tells the slots' roles"):
        transfer_model(classifier, tmp_path / "vit.safetensors")
