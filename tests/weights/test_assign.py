"""Weights of every supported format, in models small enough to compare number by number."""

import pytest
import timm
import torch

from devias.models.backbone import VideoViT, interpolate_positions, sincos_positions
from devias.models.baselines import TokenViT
from devias.models.devias import DEVIAS
from devias.models.heads import SeparateHeads, UnifiedHead
from devias.models.mask_decoder import MaskDecoder
from devias.models.slot_attention import SlotAttention
from devias.weights.assign import load_backbone, load_weights, read_weights, video_vit
from devias.weights.read import WeightsError
from released_layout import by_formula, devias_shapes, linear, norm, vit_shapes

DIM = 12
VIT = {"dim": DIM, "depth": 2, "patch": 4, "hidden": 20}


def backbone(**change):
    arguments = {
        "image_size": 8,
        "num_frames": 4,
        "patch_size": 4,
        "embed_dim": DIM,
        "depth": 2,
        "num_heads": 2,
        "mlp_ratio": 20 / DIM,
    }
    return VideoViT(**arguments | change).eval()  # grid (2, 2, 2)


def save(tmp_path, state, name="weights.pth"):
    torch.save({"model": state}, tmp_path / name)
    return tmp_path / name


def expected_backbone(state):
    """A released ViT's values in timm's names, put together by hand."""
    ours = {k: v for k, v in state.items() if k.startswith(("patch_embed.", "blocks.", "norm."))}
    for i in range(2):
        q, v = (ours.pop(f"blocks.{i}.attn.{x}_bias") for x in "qv")
        ours[f"blocks.{i}.attn.qkv.bias"] = torch.cat([q, torch.zeros(DIM), v])
    return ours


def assert_holds(module, expected):
    held = module.state_dict()
    for name, tensor in expected.items():
        torch.testing.assert_close(held[name], tensor, msg=name)


class TestBackbone:
    def test_videomae_pretraining(self, tmp_path):
        state = by_formula(vit_shapes(**VIT) | norm("norm", DIM))
        released = {f"encoder.{name}": tensor for name, tensor in state.items()}
        released |= {"decoder.norm.weight": torch.ones(5), "mask_token": torch.ones(1, 1, 5)}
        model = backbone()
        report = load_backbone(model, save(tmp_path, released))
        assert_holds(model, expected_backbone(state))
        assert report.format == "VideoMAE pretraining release"
        assert report.new == ["pos_embed"]
        assert sorted(report.ignored) == ["decoder.norm.weight", "mask_token"]

    @pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "model._orig_mod."])
    def test_videomae_fine_tuned_however_wrapped(self, tmp_path, prefix):
        state = by_formula(vit_shapes(**VIT) | norm("fc_norm", DIM) | linear("head", 5, DIM))
        model = backbone()
        path = save(tmp_path, {prefix + name: tensor for name, tensor in state.items()})
        report = load_backbone(model, path)
        assert_holds(model, expected_backbone(state))
        assert report.format == "VideoMAE fine-tuned release"
        assert sorted(report.new) == ["norm.bias", "norm.weight", "pos_embed"]
        assert {"head.fc.weight", "fc_norm.weight"} <= set(report.ignored)
        assert "weights.pth (VideoMAE fine-tuned release): 26 parameters loaded; 3 new" in str(
            report
        )

    @pytest.mark.parametrize(
        "prefix",
        [
            *("_orig_mod.module.", "model.module.", "module.model._orig_mod.", "net.", "encoder."),
            *("backbone.", "model.backbone.", "module.encoder.", "backbone.module.", "a.b.c."),
        ],
    )
    def test_prefixes_in_any_order(self, tmp_path, prefix):
        state = by_formula(vit_shapes(**VIT) | norm("norm", DIM))
        path = save(tmp_path, {prefix + name: t for name, t in state.items()} | {"loss.x": state})
        model = backbone()
        assert load_backbone(model, path).new == ["pos_embed"]
        assert_holds(model, expected_backbone(state))

    def test_wrapped_blocks(self, tmp_path):
        state = by_formula(vit_shapes(**VIT) | norm("norm", DIM))
        middle = "blocks.1._checkpoint_wrapped_module."
        path = save(tmp_path, {k.replace("blocks.1.", middle): t for k, t in state.items()})
        model = backbone()
        load_backbone(model, path)
        assert_holds(model, expected_backbone(state))

    def test_a_student_goes_before_its_teacher(self, tmp_path):
        state = by_formula(vit_shapes(**VIT) | norm("norm", DIM))
        both = {f"teacher.{k}": t + 1 for k, t in state.items()}
        both |= {f"student.{k}": t for k, t in state.items()}
        model = backbone()
        report = load_backbone(model, save(tmp_path, both))
        assert_holds(model, expected_backbone(state))
        assert "taken from 'student.', not from teacher." in str(report)

    @pytest.mark.parametrize(
        ("prefixes", "message"),
        [
            (("rgb.", "flow."), r"several ViTs, below rgb\., flow\."),
            (("", "module."), "patch_embed.proj.weight twice|twice, plainly and below a wrapper"),
        ],
    )
    def test_two_vits_with_nothing_to_choose_by(self, tmp_path, prefixes, message):
        state = by_formula(vit_shapes(**VIT))
        both = {prefix + name: t for prefix in prefixes for name, t in state.items()}
        with pytest.raises(WeightsError, match=rf"weights\.pth: .*{message}"):
            load_backbone(backbone(), save(tmp_path, both))

    @pytest.mark.parametrize("name", ["pos_embed", "cls_token", "norm.weight", "blocks.0.gamma_1"])
    @pytest.mark.parametrize("shape", [(), (0,), (11,), (1, 11), (1, 0, DIM), (2, 3, DIM)])
    def test_tensors_of_wrong_shapes(self, tmp_path, name, shape):
        state = by_formula(vit_shapes(**VIT) | norm("norm", DIM)) | {name: torch.ones(shape)}
        with pytest.raises(WeightsError, match=r"weights\.pth"):
            load_weights(
                TokenViT(backbone(num_tokens=1), UnifiedHead(DIM, 2, 0)), save(tmp_path, state)
            )

    @pytest.mark.parametrize("tied", [True, False])
    def test_released_devias(self, tmp_path, tied):
        shapes = devias_shapes(**VIT, rounds=3, slots=2, classes=9, inner=8, mask=(6, 5, 4))
        state = by_formula(shapes, tied)
        model = backbone()
        report = load_backbone(model, save(tmp_path, state))
        assert_holds(model, expected_backbone(state))
        assert report.format == "released DEVIAS"

    def test_half_precision_sources_become_float(self, tmp_path):
        state = by_formula(vit_shapes(**VIT))
        model = backbone()
        load_backbone(model, save(tmp_path, {name: t.half() for name, t in state.items()}))
        assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"drop": "blocks.1.mlp.fc1.weight"}, "blocks.1.mlp.fc1.weight is missing"),
            ({"drop": "blocks.1.attn.qkv.weight"}, "blocks.1.attn.qkv.weight is missing"),
            ({"drop": "blocks.1.attn.v_bias"}, "blocks.1.attn.v_bias is missing"),
            ({"depth": 1}, "it has blocks the backbone lacks: blocks.1"),
            ({"depth": 3}, r"blocks.2.\S+ is missing.* and 9 more"),
            ({"patch_size": 2}, r"patch_embed.proj.weight is \[12, 3, 2, 4, 4\] instead of"),
            ({"embed_dim": 6}, r"instead of \[6, 3, 2, 4, 4\]"),
            (
                {"add": "blocks.0.attn.q_norm.weight"},
                "has layers this package lacks: blocks.0.attn",
            ),
        ],
    )
    def test_a_backbone_that_would_stay_random_is_an_error(self, tmp_path, change, message):
        state = by_formula(vit_shapes(**VIT) | norm("norm", DIM))
        state.pop(change.pop("drop", None), None)
        if "add" in change:
            state[change.pop("add")] = torch.ones(2)
        model = backbone(**change)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with pytest.raises(WeightsError, match=rf"weights.pth.*{message}"):
            load_backbone(model, save(tmp_path, state))
        assert_holds(model, before)

    def test_surplus_blocks_are_ignored_on_demand(self, tmp_path):
        model = backbone(depth=1)
        path = save(tmp_path, by_formula(vit_shapes(**VIT)))
        report = load_backbone(model, path, strict=False)
        assert sum(name.startswith("backbone.blocks.1.") for name in report.ignored) == 12

    def test_unknown_formats_are_refused(self, tmp_path):
        with pytest.raises(WeightsError, match=r"no weights of a known format .* conv1.weight"):
            load_backbone(backbone(), save(tmp_path, {"conv1.weight": torch.ones(2)}))

    def test_video_vit_builds_and_loads(self, tmp_path):
        state = by_formula(vit_shapes(**VIT) | norm("norm", DIM))
        arguments = backbone()._arguments
        assert_holds(video_vit(save(tmp_path, state), **arguments), expected_backbone(state))
        assert video_vit(**arguments).grid == (2, 2, 2)


class TestPositions:
    """Sine-cosine positions are recomputed or, where the grid differs, interpolated."""

    def test_of_a_release_at_another_size(self, tmp_path):
        shapes = vit_shapes(DIM, 2, patch=16, hidden=20)  # VideoMAE's 16 frames of 224²
        model = backbone(image_size=112, patch_size=16, num_frames=8, num_tokens=2)
        report = load_backbone(model, save(tmp_path, by_formula(shapes)))
        table = sincos_positions((8, 14, 14), DIM, num_tokens=2)
        expected = interpolate_positions(table[:, 2:], (8, 14, 14), (4, 7, 7))
        torch.testing.assert_close(model.pos_embed[:, 2:], expected)
        torch.testing.assert_close(model.pos_embed[:, :2], table[:, :2])
        assert "positions interpolated from 8×14×14 to 4×7×7" in str(report)

    def test_of_a_release_at_its_own_size(self, tmp_path):
        model = backbone(image_size=224, patch_size=16, num_frames=16)
        path = save(tmp_path, by_formula(vit_shapes(DIM, 2, patch=16, hidden=20)))
        assert load_backbone(model, path).notes == []
        torch.testing.assert_close(model.pos_embed, sincos_positions((8, 14, 14), DIM))

    def test_of_our_own_backbone_travel_with_it(self, tmp_path):
        source = backbone()
        torch.nn.init.normal_(source.pos_embed)
        path = save(tmp_path, source.state_dict())
        same, larger = backbone(), backbone(image_size=16)
        load_backbone(same, path)
        torch.testing.assert_close(same.pos_embed, source.pos_embed)
        load_backbone(larger, path)
        resampled = interpolate_positions(source.pos_embed, (2, 2, 2), (2, 4, 4))
        torch.testing.assert_close(larger.pos_embed, resampled)

    def test_stored_ones_go_before_what_a_release_would_have(self, tmp_path):
        source = backbone(
            patch_size=16, image_size=32
        )  # the kernel of the releases, not their size
        torch.nn.init.normal_(source.pos_embed)
        model = backbone(patch_size=16, image_size=32)
        load_backbone(model, save(tmp_path, source.state_dict()))
        torch.testing.assert_close(model.pos_embed, source.pos_embed)

    def test_of_no_known_grid_are_left_out(self, tmp_path):
        state = backbone(image_size=(8, 12)).state_dict()
        model = backbone()
        report = load_backbone(model, save(tmp_path, state))
        torch.testing.assert_close(model.pos_embed, sincos_positions((2, 2, 2), DIM))
        assert "its 12 positions left out" in str(report)


class TestImageViT:
    """timm's image ViTs: on a still clip of one tubelet ours computes what theirs does."""

    def build(self, **change):
        arguments = {"img_size": 16, "patch_size": 4, "embed_dim": DIM, "depth": 2, "num_heads": 2}
        model = timm.models.VisionTransformer(
            **arguments | change, num_classes=5, mlp_ratio=20 / DIM
        )
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        return model.eval()

    @pytest.mark.parametrize(
        "change", [{}, {"init_values": 0.1}, {"qkv_bias": False}, {"no_embed_class": True}]
    )
    def test_equals_timm(self, tmp_path, change):
        theirs = self.build(**change)
        ours = backbone(num_frames=2, image_size=16, num_tokens=1)
        report = load_backbone(ours, save(tmp_path, theirs.state_dict()))
        assert report.format == "timm image ViT"
        assert report.new == []
        image = torch.randn(2, 3, 16, 16)
        clip = image[:, :, None].expand(-1, -1, 2, -1, -1)
        expected = theirs.forward_features(image)
        if "no_embed_class" not in change:
            torch.testing.assert_close(ours(clip), expected, rtol=1e-4, atol=1e-5)
        else:  # our extra token keeps its own position
            torch.testing.assert_close(ours.pos_embed[:, 1:], theirs.pos_embed)

    def test_a_block_alone_without_bias_is_an_error(self, tmp_path):
        state = self.build().state_dict()
        del state["blocks.1.attn.qkv.bias"]
        with pytest.raises(WeightsError, match=r"blocks.1.attn.qkv.bias is missing"):
            load_backbone(backbone(num_frames=2, image_size=16), save(tmp_path, state))

    def test_positions_repeat_over_time_and_grow_in_space(self, tmp_path):
        theirs = self.build()
        ours = backbone(image_size=32)  # grid (2, 8, 8), no class token
        report = load_backbone(ours, save(tmp_path, theirs.state_dict()))
        first, second = ours.pos_embed.view(2, 64, DIM)
        torch.testing.assert_close(first, second)
        plane = theirs.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
        plane = torch.nn.functional.interpolate(plane, size=(8, 8), mode="bilinear")
        torch.testing.assert_close(first, plane.flatten(2)[0].T)
        assert "backbone.tokens" in report.ignored
        assert "patch embedding inflated over 2 frames" in report.notes


class TestHuggingFace:
    @pytest.fixture
    def transformers(self):
        return pytest.importorskip("transformers")

    def build(self, transformers, kind, **change):
        config = transformers.VideoMAEConfig(
            image_size=8,
            patch_size=4,
            num_frames=4,
            hidden_size=DIM,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=20,
            decoder_num_hidden_layers=1,
            decoder_hidden_size=8,
            decoder_num_attention_heads=2,
            decoder_intermediate_size=8,
            layer_norm_eps=1e-6,
            **change,
        )
        model = getattr(transformers, kind)(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        return model.eval()

    @pytest.mark.parametrize("kind", ["VideoMAEModel", "VideoMAEForPreTraining"])
    def test_folder_equals_transformers(self, tmp_path, transformers, kind):
        theirs = self.build(transformers, kind, use_mean_pooling=False)
        theirs.save_pretrained(tmp_path)
        ours = backbone()
        report = load_backbone(ours, tmp_path)
        assert report.format == "Hugging Face VideoMAE"
        assert report.new == ["pos_embed"]
        video = torch.randn(2, 3, 4, 8, 8)
        encoder = getattr(theirs, "videomae", theirs)
        expected = encoder(video.transpose(1, 2)).last_hidden_state
        torch.testing.assert_close(ours(video), expected, rtol=1e-4, atol=1e-5)

    def test_biases_named_as_in_memory(self, tmp_path, transformers):
        theirs = self.build(transformers, "VideoMAEModel", use_mean_pooling=True)
        state = theirs.state_dict()
        assert any(name.endswith("query.bias") for name in state)
        ours = backbone(final_norm=False)
        load_backbone(ours, save(tmp_path, state))
        video = torch.randn(2, 3, 4, 8, 8)
        expected = theirs(video.transpose(1, 2)).last_hidden_state
        torch.testing.assert_close(ours(video), expected, rtol=1e-4, atol=1e-5)

    def test_classifier(self, tmp_path, transformers):
        theirs = self.build(transformers, "VideoMAEForVideoClassification", num_labels=5)
        theirs.save_pretrained(tmp_path)
        ours = TokenViT(backbone(final_norm=False), UnifiedHead(DIM, 5, 0), pooling="mean").eval()
        load_weights(ours, tmp_path)
        video = torch.randn(2, 3, 4, 8, 8)
        expected = theirs(video.transpose(1, 2)).logits
        torch.testing.assert_close(ours(video).logits[:, 0], expected, rtol=1e-3, atol=1e-4)


class TestWholeModel:
    def devias(self, shared=True, iterations=3, num_slots=2, classes=(5, 4)):
        return DEVIAS(
            backbone(),
            SlotAttention(DIM, num_slots, iterations, shared=shared, head_dim=2),
            UnifiedHead(DIM, *classes),
            MaskDecoder(DIM, 4, (6, 5)),
        )

    def released(self, tied=True, rounds=3):
        shapes = devias_shapes(**VIT, rounds=rounds, slots=2, classes=9, inner=8, mask=(6, 5, 4))
        return by_formula(shapes, tied)

    def test_tied_rounds_fill_shared_and_separate_models(self, tmp_path):
        path = save(tmp_path, self.released(tied=True))
        shared, separate = self.devias(), self.devias(shared=False)
        assert load_weights(shared, path).new == ["backbone.pos_embed"]
        assert load_weights(separate, path).new == ["backbone.pos_embed"]
        video = torch.randn(2, 3, 4, 8, 8)
        torch.testing.assert_close(shared.eval()(video).logits, separate.eval()(video).logits)

    def test_untied_rounds_keep_their_order(self, tmp_path):
        state = self.released(tied=False)
        model = self.devias(shared=False)
        load_weights(model, save(tmp_path, state))
        for i in range(3):
            held = model.slot_attention.updates[i].to_v.weight
            torch.testing.assert_close(held, state[f"agg_block.layers.{i}.0.fn.to_v.weight"])
            held = model.slot_attention.norm_tokens[i].bias
            torch.testing.assert_close(held, state[f"agg_block.layers.{i}.0.norm_context.bias"])
        with pytest.raises(WeightsError, match=r"slot_attention: .* is not in the model"):
            load_weights(self.devias(shared=True), save(tmp_path, state))

    def test_a_gap_in_untied_rounds_is_not_filled_by_another(self, tmp_path):
        model = self.devias(shared=False)
        state = model.state_dict()
        del state["slot_attention.updates.1.to_q.weight"]
        message = r"slot_attention: updates.1.to_q.weight is missing"
        with pytest.raises(WeightsError, match=message):
            load_weights(model, save(tmp_path, state))

    def test_other_classes_are_an_error_or_a_new_head(self, tmp_path):
        path = save(tmp_path, self.released())
        model = self.devias(classes=(5, 6))
        message = r"model's head: fc.weight is \[9, 12\] instead of \[11, 12\]"
        with pytest.raises(WeightsError, match=message):
            load_weights(model, path)
        before = model.head.fc.weight.clone()
        report = load_weights(model, path, strict=False)
        assert report.new == ["backbone.pos_embed", "head.fc.weight", "head.fc.bias"]
        assert {"head.fc.weight", "head.fc.bias"} <= set(report.ignored)
        torch.testing.assert_close(model.head.fc.weight, before)

    def test_a_missing_part_is_an_error_or_new(self, tmp_path):
        state = {k: v for k, v in self.released().items() if not k.startswith("mask_predictor")}
        path = save(tmp_path, state)
        with pytest.raises(WeightsError, match=r"mask_decoder: layers.0.weight is missing"):
            load_weights(self.devias(), path)
        report = load_weights(self.devias(), path, strict=False)
        assert len([name for name in report.new if name.startswith("mask_decoder.")]) == 6

    @pytest.mark.parametrize("name", ["norm.weight", "agg_block.latents"])
    def test_missing_parameters_are_an_error(self, tmp_path, name):
        state = {k: v for k, v in self.released().items() if k != name}
        with pytest.raises(WeightsError, match=r"weights.pth .*(lacks backbone.norm.weight|slots)"):
            load_weights(self.devias(), save(tmp_path, state))

    def test_two_token_with_separate_heads(self, tmp_path):
        shapes = vit_shapes(**VIT) | norm("norm", DIM)
        shapes |= {"cls_token": (1, 1, DIM), "scene_token": (1, 1, DIM)}
        state = by_formula(shapes | linear("head", 5, DIM) | linear("scene_head", 4, DIM))
        model = TokenViT(backbone(num_tokens=2), SeparateHeads(DIM, 5, 4))
        report = load_weights(model, save(tmp_path, state))
        assert report.format == "released two-token model"
        assert report.new == ["backbone.pos_embed"]
        torch.testing.assert_close(model.backbone.tokens[:, 1:], state["scene_token"])
        torch.testing.assert_close(model.head.scene.weight, state["scene_head.weight"])

    def test_a_lightning_checkpoint(self, tmp_path):
        source, target = self.devias(), self.devias()
        state = {f"model.{name}": tensor for name, tensor in source.state_dict().items()}
        state["metrics.seen.count"] = torch.ones(1)
        torch.save({"state_dict": state, "epoch": 3}, tmp_path / "last.ckpt")
        report = load_weights(target, tmp_path / "last.ckpt")
        assert report.new == report.ignored == []
        assert_holds(target, source.state_dict())

    def test_reading_once_serves_several_models(self, tmp_path):
        weights = read_weights(save(tmp_path, self.released()))
        reports = [load_weights(self.devias(), weights) for _ in range(2)]
        assert reports[0] == reports[1]
        assert reports[0].source.endswith("weights.pth")
