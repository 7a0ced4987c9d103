"""The authors' released code computes the same numbers, on weights and clips made by formula."""

import json

import numpy as np
import pytest
import torch

from devias import load_model
from devias.models.matching import SlotMatcher
from devias.structures import Roles
from released_layout import (
    by_formula,
    devias_shapes,
    formula_clip,
    linear,
    norm,
    value,
    vit_shapes,
)

NUM_ACTIONS, NUM_SCENES = 101, 365
SEED = 1000


def load(folder, state):
    torch.save({"model": state}, folder / "weights.pth")
    return load_model(folder / "weights.pth", NUM_ACTIONS, NUM_SCENES, compat="official")


class TestFewNumbers:
    """A few of the numbers, for everywhere: ViT-B width, 2 blocks, 4 tied rounds, one clip."""

    def close(self, values, expected):
        torch.testing.assert_close(values.flatten(), torch.tensor(expected), rtol=1e-4, atol=1e-5)

    @torch.inference_mode()
    def test_devias(self, tmp_path):
        classes = NUM_ACTIONS + NUM_SCENES
        shapes = devias_shapes(768, 2, rounds=4, slots=2, classes=classes, inner=2048)
        prediction = load(tmp_path, by_formula(shapes))(formula_clip(SEED, clips=1))
        first, second = prediction.slots[0, :, :6]
        self.close(first, [1.64738, 0.523765, -0.527013, 0.416432, -1.30632, -1.20848])
        self.close(second, [2.26658, -0.303623, -0.107453, -1.01141, -1.50725, -0.163897])
        first, second = prediction.logits[0, :, :4]
        self.close(first, [-1.10372, -0.0512752, -1.27915, 1.74066])
        self.close(second, [-1.23442, -0.150367, -1.15795, 1.33423])
        # The first slot in each of the 4 heads, at the first token and at the last.
        first, last = prediction.attention[0, :, 0, 0], prediction.attention[0, :, 0, 1567]
        self.close(first, [0.342262, 0.437507, 0.516044, 0.413142])
        self.close(last, [0.688458, 0.198887, 0.740887, 0.693435])
        mask = prediction.mask_logits[0, :, 97].sigmoid()
        self.close(mask, [0.631599, 0.62767])
        roles = SlotMatcher("probability").infer(prediction)
        assert (roles.action.item(), roles.scene.item()) == (0, 1)

    @torch.inference_mode()
    def test_two_token(self, tmp_path):
        shapes = vit_shapes(768, 2) | norm("norm", 768)
        shapes |= {"cls_token": (1, 1, 768), "scene_token": (1, 1, 768)}
        shapes |= linear("head", NUM_ACTIONS, 768) | linear("scene_head", NUM_SCENES, 768)
        prediction = load(tmp_path, by_formula(shapes))(formula_clip(SEED, clips=1))
        action, scene = prediction.action_logits[0, 0], prediction.scene_logits[0, 1]
        self.close(action[:5], [-1.40911, 0.339139, 0.598164, -0.160099, 0.993568])
        self.close(scene[:5], [-0.756287, 1.68297, -0.891242, -0.527443, -0.699066])


class TestAllNumbers:
    """Every output of every reference network, where the development data is present."""

    @pytest.fixture(scope="class")
    def reference(self, shared):
        folder = shared / "reference" / "case_a"
        recipe = json.loads((folder / "recipe.json").read_text())
        return recipe, np.load(folder / "outputs.npz")

    @pytest.fixture
    def predict(self, reference, tmp_path):
        recipe, _ = reference

        def run(network):
            state, values = {}, {}
            for name, entry in recipe[network]["state_dict"].items():
                source = entry["value_of"]
                if source not in values:
                    values[source] = value(source, tuple(entry["shape"]))
                state[name] = values[source]
            model = load(tmp_path, state)
            tokens = []
            model.backbone.register_forward_hook(lambda *call: tokens.append(call[-1]))
            with torch.inference_mode():
                return model(formula_clip(recipe["seed"])), tokens[0]

        return run

    def close(self, reference, **outputs):
        for name, output in outputs.items():
            expected = torch.from_numpy(reference[1][name])
            error = (output - expected).abs().max() / expected.abs().max()
            assert error < 1e-4, f"{name}: {error:.1e}"

    def test_devias(self, reference, predict):
        prediction, tokens = predict("devias")
        roles = SlotMatcher("probability").infer(prediction)
        self.close(
            reference,
            features_mean=tokens.mean(1),
            features_first8=tokens[:, :8],
            slots=prediction.slots,
            logits=prediction.logits,
            attention=prediction.attention,
            mask_probability=prediction.mask_logits.sigmoid(),
            action_logits=Roles.pick(prediction.logits, roles.action),
            scene_logits=Roles.pick(prediction.logits, roles.scene),
        )

    def test_two_token(self, reference, predict):
        prediction, _ = predict("two_token")
        self.close(
            reference,
            two_token_action_logits=prediction.action_logits[:, 0],
            two_token_scene_logits=prediction.scene_logits[:, 1],
            two_token_action_token=prediction.slots[:, 0],
            two_token_scene_token=prediction.slots[:, 1],
        )

    def test_scene_model(self, reference, predict):
        prediction, _ = predict("scene_teacher")
        self.close(reference, scene_teacher_logits=prediction.scene_logits[:, 0])

    def test_action_vit(self, reference, predict):
        prediction, _ = predict("action_vit")
        self.close(reference, action_vit_logits=prediction.action_logits[:, 0])
