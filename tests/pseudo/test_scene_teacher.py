"""The frozen scene model: what it sees, what it returns, and that it stays frozen."""

import pytest
import torch
from torch import nn

from devias.pseudo.scene_teacher import SceneTeacher
from devias.structures import SlotPrediction


class VideoModel(nn.Module):
    """Slot 0 says the mean colour, slot 1 the same with a more certain scene 1."""

    def __init__(self, num_actions=0):
        super().__init__()
        self.num_actions = num_actions
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(0.9)

    def forward(self, video):
        mean = self.dropout(self.scale * video.mean((2, 3, 4)))
        sure = mean + torch.tensor([0.0, 9.0, 0.0])
        scene = torch.stack([mean, sure], 1)
        actions = torch.zeros(*scene.shape[:2], self.num_actions)
        logits = torch.cat([actions, scene], -1)
        return SlotPrediction(scene, logits, self.num_actions, grid=(1, 1, 1))


class ImageModel(nn.Module):
    """Two scenes; the image's mean m is the probability m of scene 0."""

    def forward(self, images):
        assert images.ndim == 4
        bright = images.mean((1, 2, 3))
        return torch.stack([bright, 1 - bright], -1).log()


@pytest.mark.parametrize("num_actions", [0, 2])
def test_video_model_sees_normalised_clips_and_answers_by_its_scene_slot(num_actions):
    teacher = SceneTeacher(VideoModel(num_actions), mean=(0.5, 0.5, 0.25), std=(0.5, 0.25, 0.25))
    video = torch.tensor([0.5, 1.0, 0.0]).view(1, 3, 1, 1, 1).expand(2, 3, 4, 2, 2)
    logits = teacher(video)
    torch.testing.assert_close(logits, torch.tensor([[0.0, 2.0 + 9.0, -1.0]]).repeat(2, 1))


def test_image_classifier_averages_probabilities_over_frames():
    teacher = SceneTeacher(ImageModel(), per_frame=True, mean=(0.0,) * 3, std=(1.0,) * 3)
    video = torch.zeros(2, 3, 4, 2, 2)
    video[0] = torch.tensor([0.1, 0.3, 0.6, 0.8]).view(1, 4, 1, 1)
    video[1] = 0.25
    probability = teacher(video).softmax(-1)
    torch.testing.assert_close(probability, torch.tensor([[0.45, 0.55], [0.25, 0.75]]))


def test_it_stays_frozen():
    teacher = SceneTeacher(VideoModel())
    owner = nn.ModuleList([teacher]).train()
    assert owner.training
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher(torch.rand(1, 3, 2, 2, 2, requires_grad=True)).requires_grad


def test_the_wrong_kind_of_model_is_named():
    with pytest.raises(TypeError, match=r"Tensor, not a SlotPrediction.*per_frame=true"):
        SceneTeacher(nn.Identity())(torch.rand(1, 3, 2, 2, 2))
    model = VideoModel()
    model.forward = lambda images: {"logits": images}
    with pytest.raises(TypeError, match="returns logits, not dict"):
        SceneTeacher(model, per_frame=True)(torch.rand(1, 3, 2, 2, 2))
