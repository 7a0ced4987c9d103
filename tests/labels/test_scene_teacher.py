"""The frozen scene model: what it sees, what it returns, and that it stays frozen."""

import pytest
import timm
import torch
from hydra.utils import instantiate
from torch import nn

from devias.config import compose
from devias.labels.on_device import BatchStage
from devias.labels.scene_teacher import SceneTeacher, image_classifier
from devias.losses import SceneRecognition
from devias.structures import UNKNOWN, ClipBatch, Roles, SlotPrediction
from devias.weights.read import WeightsError


class VideoModel(nn.Module):
    """Slot 0 says the mean color, slot 1 the same with a more certain scene 1."""

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
def test_video_model_sees_normalized_clips_and_answers_by_its_scene_slot(num_actions):
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


@pytest.fixture
def released(tmp_path):
    """A classifier of five scenes, saved as the Places365 networks were."""
    network = timm.create_model("test_resnet", num_classes=5)
    path = tmp_path / "places.pth.tar"
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, "arch": "test_resnet", "state_dict": state}, path)
    return network.eval(), path


@pytest.mark.parametrize("target", ["label", "distribution"])
def test_any_timm_classifier_labels_clips(released, target):
    network, path = released
    config = compose(
        "scene_teacher=timm",
        "scene_teacher.model.name=test_resnet",
        "scene_teacher.model.num_classes=5",
        f"scene_teacher.model.weights={path}",
    )
    video = torch.randint(0, 256, (2, 3, 4, 32, 32), dtype=torch.uint8)
    unknown = torch.full((2,), UNKNOWN)
    batch = ClipBatch(video, action=unknown, scene=unknown, index=torch.arange(2))
    labeled = BatchStage(scene_teacher=instantiate(config.scene_teacher))(batch)

    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        frames = [(video[:, :, t] / 255 - mean) / std for t in range(4)]
        probability = torch.stack([network(frame).softmax(-1) for frame in frames]).mean(0)
    torch.testing.assert_close(labeled.scene_logits.exp(), probability, atol=1e-5, rtol=1e-4)
    assert torch.equal(labeled.scene, probability.argmax(-1))

    logits = torch.zeros(2, 1, 3 + 5, requires_grad=True)
    prediction = SlotPrediction(logits, logits, num_actions=3, grid=(1, 1, 1))
    slot = torch.zeros(2, dtype=torch.long)
    SceneRecognition(target)(prediction, Roles(slot, slot), labeled).backward()
    # A step down the gradient raises the scene that the classifier sees most of.
    assert torch.equal((-logits.grad[:, 0, 3:]).argmax(-1), labeled.scene)


def test_classifiers_that_do_not_fit_are_refused(released, tmp_path):
    _, path = released
    with pytest.raises(
        WeightsError, match=r"places\.pth\.tar does not fit test_resnet of 7 classes"
    ):
        image_classifier("test_resnet", 7, path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        image_classifier("test_resnet", 5, tmp_path / "nowhere.pth")
    harmful = tmp_path / "harmful.pth"
    torch.save(nn.Linear(2, 2), harmful)
    with pytest.raises(WeightsError, match="would run code"):
        image_classifier("test_resnet", 5, harmful)
