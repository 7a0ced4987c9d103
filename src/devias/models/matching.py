"""Slot matching: which slot stands for the action and which for the scene.

In training the labels decide: the K×2 cost of (action label, scene label) is solved as an
assignment problem. At inference the head's own probabilities do.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from devias.structures import UNKNOWN, Roles, SlotPrediction

Cost = Literal["cross_entropy", "probability"]
Assignment = Literal["hungarian", "greedy", "fixed"]


def assign(cost: Tensor, method: Assignment = "hungarian") -> Roles:
    """Give the two roles to two different slots of every clip.

    Args:
        cost: `[B, K, 2]`, the cost of giving each slot the action role and the scene role.
        method: `hungarian` finds the pair of least total cost, `greedy` fixes the cheapest
            (slot, role) first and gives the other role the cheapest remaining slot, `fixed`
            takes slot 0 for the action and slot 1 for the scene.

    A single slot (K = 1) takes both roles.
    """
    _check("assignment", method, Assignment)
    if cost.ndim != 3 or cost.shape[1] == 0 or cost.shape[2] != 2:
        raise ValueError(f"cost must be [B, K, 2] with K ≥ 1, not {list(cost.shape)}")
    clips, num_slots, _ = cost.shape
    first = torch.zeros(clips, dtype=torch.long, device=cost.device)
    if num_slots == 1:
        return Roles(action=first, scene=first)
    if method == "fixed":
        return Roles(action=first, scene=first + 1)
    return _assign_hungarian(cost) if method == "hungarian" else _assign_greedily(cost)


def _assign_hungarian(cost: Tensor) -> Roles:
    """The optimum of all K(K−1) ordered pairs, found among at most four.

    A best pair uses one of the two cheapest slots of either role: were its action slot a third
    one, then at least one of the two cheaper ones is not taken by the scene and can replace it.
    """
    values, slots = cost.topk(2, dim=1, largest=False)  # [B, rank, role]
    total = values[:, :, None, 0] + values[:, None, :, 1]  # [B, action rank, scene rank]
    same_slot = slots[:, :, None, 0] == slots[:, None, :, 1]
    best = total.masked_fill(same_slot, torch.inf).flatten(1).argmin(1)
    return Roles(
        action=Roles.pick(slots[..., 0], best // 2),
        scene=Roles.pick(slots[..., 1], best % 2),
    )


def _assign_greedily(cost: Tensor) -> Roles:
    cheapest = cost.flatten(1).argmin(1)
    slot, role = cheapest // 2, cheapest % 2
    other_cost = Roles.pick(cost.mT, 1 - role).scatter(1, slot[:, None], torch.inf)
    other_slot = other_cost.argmin(1)
    return Roles(
        action=torch.where(role == 0, slot, other_slot),
        scene=torch.where(role == 0, other_slot, slot),
    )


class SlotMatcher:
    """Finds the action and the scene slot of every clip, with labels or without.

    Args:
        cost: `cross_entropy` over all N_A + N_S logits (the paper), or minus the softmax
            `probability` of the label (the released code).
        assignment: see `assign`; `fixed` holds at inference as well.
    """

    def __init__(self, cost: Cost = "cross_entropy", assignment: Assignment = "hungarian") -> None:
        _check("cost", cost, Cost)
        _check("assignment", assignment, Assignment)
        self.cost = cost
        self.assignment = assignment

    @torch.no_grad()
    def match(self, prediction: SlotPrediction, action: Tensor, scene: Tensor) -> Roles:
        """Match the slots of B clips to their labels, `[B]` each.

        A role whose label is `UNKNOWN`, or for which the head has no classes, costs nothing on
        any slot, so the other role chooses freely. No gradient flows through the choice.
        """
        for name, label in (("action", action), ("scene", scene)):
            if label.shape != prediction.logits.shape[:1]:
                raise ValueError(
                    f"match needs one {name} label a clip, [{len(prediction.logits)}], not "
                    f"{list(label.shape)}; ClipBatch.per_clip repeats labels over views"
                )
        num_actions, classes = prediction.num_actions, prediction.logits.shape[-1]
        score = prediction.logits.float().log_softmax(-1)
        if self.cost == "probability":
            score = score.exp()
        known = torch.stack([action, scene], 1) != UNKNOWN
        for role, absent in enumerate((num_actions == 0, num_actions == classes)):
            if absent:
                known[:, role] = False
        index = torch.stack([action, scene + num_actions], 1).where(known, 0)
        cost = -score.gather(2, index[:, None].expand(-1, score.shape[1], -1))  # [B, K, role]
        return assign(cost.where(known[:, None], 0.0), self.assignment)

    @torch.no_grad()
    def infer(self, prediction: SlotPrediction) -> Roles:
        """Give each role to the slot with the highest probability in the role's half of the head.

        Both roles may fall on one slot. A role for which the head has no classes goes to slot 0.
        """
        probability = prediction.logits.float().softmax(-1)
        if self.assignment == "fixed":
            return assign(probability[..., :1].expand(-1, -1, 2), "fixed")
        action, scene = probability.tensor_split([prediction.num_actions], dim=-1)
        return Roles(action=_most_certain_slot(action), scene=_most_certain_slot(scene))


def _most_certain_slot(probability: Tensor) -> Tensor:
    """`[B, K, C]` → the slot `[B]` of the highest probability."""
    if probability.shape[-1] == 0:
        return torch.zeros(len(probability), dtype=torch.long, device=probability.device)
    return probability.amax(-1).argmax(1)


def _check(name: str, value: str, choices: object) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}, not {value!r}")
