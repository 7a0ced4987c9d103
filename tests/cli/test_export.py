"""Exported files are read back as the model they were made from."""

import json

import pytest
import torch
from hydra import compose, initialize_config_dir

from devias import load_model
from devias.cli.export import ExportError, export
from devias.config import config_dir
from devias.errors import ConfigError
from devias.models.architecture import describe
from devias.models.backbone import VideoViT
from devias.models.baselines import TokenViT
from devias.models.devias import DEVIAS
from devias.models.heads import SeparateHeads, UnifiedHead
from devias.models.segmentation_decoder import SegmentationDecoder
from devias.models.slot_attention import SlotAttention
from devias.weights.infer import load_vit
from devias.weights.read import WeightsError
from released_layout import by_formula, devias_shapes

SIZE = ("num_frames=4", "num_heads=2")
CLIP = (2, 3, 4, 8, 8)


def run(*overrides):
    with initialize_config_dir(config_dir(), version_base="1.3"):
        export(compose("export", overrides=list(overrides)))


def checkpoint(path, model):
    """As a run writes it."""
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": state, "architecture": describe(model)}, path)
    return path


def our_model(key_normalization="l1"):
    backbone = VideoViT(8, 4, 4, embed_dim=12, depth=1, num_heads=2)
    slots = SlotAttention(12, head_dim=2, key_normalization=key_normalization)
    return DEVIAS(backbone, slots, UnifiedHead(12, 5, 4)).eval()


@pytest.mark.parametrize("format", ["safetensors", "released"])
def test_a_checkpoint_becomes_a_file_that_loads_alone(tmp_path, format):
    model = our_model()
    source, output = checkpoint(tmp_path / "x.ckpt", model), tmp_path / "new" / "y"
    run(f"checkpoint={source}", f"output={output}", f"format={format}")
    if format == "safetensors":
        assert json.loads((output.parent / "y.json").read_text()) == describe(model)
    beside = {"safetensors": {"y.json"}, "released": set()}[format]
    assert {path.name for path in output.parent.iterdir()} == {"y"} | beside
    # The released layout does not say on what clips it was trained, nor N_A.
    told = {} if format == "safetensors" else {"num_actions": 5, "num_frames": 4, "image_size": 8}
    twin = load_model(output, **told, **({"num_heads": 2} if told else {}))
    video = torch.randn(CLIP)
    torch.testing.assert_close(twin(video).logits, model(video).logits)


def test_a_released_checkpoint_comes_back_as_it_was(tmp_path):
    shapes = devias_shapes(12, 2, 3, 3, 9, 8, mask=(6, 4), patch=4, hidden=20)
    state = by_formula(shapes)
    torch.save({"model": state}, tmp_path / "x.pth")
    source, output = f"checkpoint={tmp_path / 'x.pth'}", tmp_path / "y.pth"
    run(source, f"output={output}", "format=released", "num_actions=5", *SIZE)
    back = torch.load(output, weights_only=True)["model"]
    assert back.keys() == state.keys()
    torch.testing.assert_close(back, state, rtol=0, atol=0)


@pytest.mark.parametrize("source", ["checkpoint", "released"])
def test_the_backbone_alone(tmp_path, source):
    if source == "checkpoint":
        path, told = checkpoint(tmp_path / "x", our_model()), ()
    else:
        path, told = tmp_path / "x", SIZE
        shapes = devias_shapes(12, 2, 3, 3, 9, 8, mask=(6, 4), patch=4, hidden=20)
        torch.save({"model": by_formula(shapes)}, path)
    output = tmp_path / "y.safetensors"
    run(f"checkpoint={path}", f"output={output}", "part=backbone", *told)
    sizes = {"num_actions": 5, "num_frames": 4, "num_heads": 2} if told else {}
    whole, alone = load_model(path, **sizes), load_vit(output)
    video = torch.randn(CLIP)
    torch.testing.assert_close(alone(video), whole.backbone(video))
    assert load_model(output, 5, 4).backbone.input_size == (4, 8, 8)


def test_a_file_is_overwritten_only_when_asked(tmp_path):
    source, output = checkpoint(tmp_path / "x", our_model()), tmp_path / "y"
    output.write_text("precious")
    arguments = (f"checkpoint={source}", f"output={output}")
    with pytest.raises(ExportError, match="y exists; overwrite=true"):
        run(*arguments)
    assert output.read_text() == "precious"
    run(*arguments, "overwrite=true")
    assert isinstance(load_model(output), DEVIAS)
    output.unlink()
    with pytest.raises(ExportError, match=r"y\.json exists"):
        run(*arguments)


def pretrained():
    backbone = VideoViT(8, 4, 4, embed_dim=12, depth=1, num_heads=2, final_norm=False)
    return TokenViT(
        backbone, SeparateHeads(12, 5, 4), "mean", segmentation_decoder=SegmentationDecoder(12)
    )


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (our_model("l2"), ["format=released"], "key_normalization is 'l2', not 'l1'"),
        (our_model(), ["format=released", "part=backbone"], "for whole models, not a VideoViT"),
        (pretrained(), ["format=released"], "no place for segmentation_decoder.norm.weight"),
        (our_model(), ["num_actions=7"], "num_actions is 5, not 7"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, model, arguments, message):
    source, output = checkpoint(tmp_path / "x", model), tmp_path / "new" / "y"
    with pytest.raises(WeightsError, match=message):
        run(f"checkpoint={source}", f"output={output}", *arguments)
    assert not output.parent.exists() or not list(output.parent.iterdir())


def test_weights_and_their_description_need_two_names(tmp_path):
    source = checkpoint(tmp_path / "x", our_model())
    with pytest.raises(ConfigError, match=r"y\.json is where the description goes"):
        run(f"checkpoint={source}", f"output={tmp_path / 'y.json'}")
    assert not (tmp_path / "y.json").exists()


@pytest.mark.parametrize("choice", ["part=head", "format=onnx"])
def test_unknown_choices_are_refused(tmp_path, choice):
    source = checkpoint(tmp_path / "x", our_model())
    with pytest.raises(ConfigError, match=f"{choice.partition('=')[0]} must be .* got "):
        run(f"checkpoint={source}", f"output={tmp_path / 'y'}", choice)
