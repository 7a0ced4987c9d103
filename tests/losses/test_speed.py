"""The batched loss against the released algorithm: a loop over clips with SciPy's solver."""

import math
import time

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from devias.losses import (
    ActionRecognition,
    AttentionGuidance,
    MaskPrediction,
    SceneRecognition,
    SlotDiversity,
)
from devias.models.matching import SlotMatcher
from devias.structures import ClipBatch, SlotPrediction

CLIPS, SLOTS, ACTIONS, SCENES, GRID = 12, 2, 101, 365, (8, 14, 14)


def make_inputs():
    classes, tokens = ACTIONS + SCENES, 8 * 14 * 14
    prediction = SlotPrediction(
        slots=torch.randn(CLIPS, SLOTS, 768, requires_grad=True),
        logits=torch.randn(CLIPS, SLOTS, classes, requires_grad=True),
        num_actions=ACTIONS,
        grid=GRID,
        attention=torch.rand(CLIPS, 4, SLOTS, tokens).softmax(2).requires_grad_(),
        mask_logits=torch.randn(CLIPS, SLOTS, 14 * 14, requires_grad=True),
    )
    batch = ClipBatch(
        video=torch.empty(CLIPS, 0),
        action=torch.randint(0, ACTIONS, (CLIPS,)),
        scene=torch.randint(0, SCENES, (CLIPS,)),
        index=torch.arange(CLIPS),
        clip_mask=torch.rand(CLIPS, 14, 14).round(),
        frame_masks=torch.rand(CLIPS, *GRID).round(),
        scene_logits=torch.randn(CLIPS, SCENES),
    )
    return prediction, batch


def released(prediction, batch):
    """One clip after another, matched on the host, masks in half precision, each term read out."""
    probability = prediction.logits.softmax(-1)
    attention = prediction.attention.mean(1)
    decoded = prediction.mask_logits.sigmoid()
    clip_mask, frame_masks = batch.clip_mask.flatten(1).half(), batch.frame_masks.flatten(1).half()
    floor = (batch.scene_logits.min() - 1).expand(CLIPS, ACTIONS)
    teacher = torch.cat([floor, batch.scene_logits], 1)
    scene_target = batch.scene_logits.argmax(1) + ACTIONS
    matches = []
    for clip in range(CLIPS):
        labels = [batch.action[clip], scene_target[clip]]
        cost = torch.stack([-probability[clip, :, label] for label in labels], 1)
        match = linear_sum_assignment(cost.detach().cpu())
        matches.append([torch.as_tensor(indices) for indices in match])
    action, scene, guidance, mask = (torch.zeros(()) for _ in range(4))
    chosen, action_logits = [], []
    for clip, match in enumerate(matches):
        for slot, role in zip(*match, strict=True):
            logits = prediction.logits[clip, slot]
            chosen.append((clip, int(slot)))
            if role == 0:
                action_logits.append(logits)
                action = action + F.cross_entropy(logits, batch.action[clip])
                guidance = guidance + F.mse_loss(attention[clip, slot], frame_masks[clip])
                mask = mask + F.binary_cross_entropy_with_logits(
                    decoded[clip, slot], clip_mask[clip]
                )
            else:
                scene = scene + 4000 * F.kl_div(
                    logits.log_softmax(-1),
                    teacher[clip].log_softmax(-1),
                    reduction="batchmean",
                    log_target=True,
                )
    directions = F.normalize(prediction.slots, dim=2)
    cosine = (directions @ directions.mT) * (1 - torch.eye(SLOTS))
    diversity = (cosine.sum((1, 2)) / (SLOTS * (SLOTS - 1))).mean()
    terms = [term / CLIPS for term in (action, scene, guidance, mask)] + [diversity]
    assert all(math.isfinite(term.item()) for term in terms)
    assert len(chosen) == 2 * len(torch.stack(action_logits))
    return sum(terms)


def batched(prediction, batch):
    terms = [
        ActionRecognition(),
        SceneRecognition("distribution", scale=4000, mean="classes"),
        MaskPrediction(double_sigmoid=True),
        AttentionGuidance(),
        SlotDiversity(),
    ]
    scene = batch.scene_logits.argmax(1)
    roles = SlotMatcher("probability").match(prediction, batch.action, scene)
    return sum(term.weight * term(prediction, roles, batch) for term in terms)


def test_both_compute_the_same_loss():
    prediction, batch = make_inputs()
    expected = released(prediction, batch)
    torch.testing.assert_close(batched(prediction, batch), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.slow
def test_the_batched_loss_is_faster():
    prediction, batch = make_inputs()
    leaves = [
        prediction.slots,
        prediction.logits,
        prediction.attention,
        prediction.mask_logits,
    ]
    seconds = {batched: [], released: []}
    for _ in range(200):
        for loss, times in seconds.items():
            start = time.process_time()
            torch.autograd.grad(loss(prediction, batch), leaves)
            times.append(time.process_time() - start)
    ours, theirs = (min(times) * 1e3 for times in seconds.values())
    print(f"loss: {ours:.1f} ms against {theirs:.1f} ms, {theirs / ours:.1f}×")
    assert theirs / ours >= 3
