"""Composed clips against NumPy written out by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from devias.data.readers import VideoError, open_frames
from devias.data.readers.composite import center_of_mass, paste
from devias.data.records import Background, Composite


def write_stills(folder, images, name="{:06}.png", start=1):
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / name.format(number + start))
    return folder


@pytest.fixture
def parts(tmp_path):
    """A foreground of 6 frames 8×10 and a background of 9 frames 16×12, twice its size."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (6, 8, 10, 3), dtype=np.uint8)
    masks = np.zeros((6, 8, 10), np.uint8)
    for t in range(6):
        masks[t, 2:5, 1 + t : 3 + t] = 255
        masks[t, 5, 1 + t : 3 + t] = 100  # soft: counts for the center alone
    inpainted = rng.integers(0, 256, (9, 8, 6, 3), dtype=np.uint8).repeat(2, 1).repeat(2, 2)
    theirs = np.zeros((9, 16, 12), np.uint8)
    for t in range(9):
        theirs[t, 8:12, 5:12] = 200 - 10 * t
    write_stills(tmp_path / "ori", frames)
    write_stills(tmp_path / "seg", masks, "img_{:05}.png", start=0)
    write_stills(tmp_path / "inp", inpainted)
    write_stills(tmp_path / "theirs", theirs)
    return tmp_path, frames, masks, inpainted, theirs


def composite(folder, **given):
    background = Background(folder / "inp", folder / "theirs", **{"num_frames": 9, **given})
    return Composite(folder / "seg", background)


def by_hand(parts, clip, late=False):
    """For a background that has the short side of the foreground already."""
    _, frames, masks, inpainted, theirs = parts

    def center(mask):
        y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
        return (mask * y).sum() / mask.sum(), (mask * x).sum() / mask.sum()

    count = len(inpainted)
    places = [
        int(1 + i * (count - 1) / 6) if late else min(round(i / 6 * count), count - 1) for i in clip
    ]
    ours, other = center(masks[clip[0]].astype(float)), center(theirs[places[0]].astype(float))
    y, x = int(other[0] - ours[0]), int(other[1] - ours[1])
    result = []
    for i, place in zip(clip, places, strict=True):
        canvas = inpainted[place].copy()
        for row in range(frames.shape[1]):
            for column in range(frames.shape[2]):
                down, right = row + y, column + x
                inside = 0 <= down < canvas.shape[0] and 0 <= right < canvas.shape[1]
                if masks[i, row, column] > 128 and inside:
                    canvas[down, right] = frames[i, row, column]
        result.append(canvas)
    return np.stack(result)


@pytest.mark.parametrize("late", [False, True])
def test_every_pixel(tmp_path, late):
    """Background of the foreground's short side: nothing is resized, all is exact."""
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (6, 12, 14, 3), dtype=np.uint8)
    masks = rng.integers(0, 256, (6, 12, 14), dtype=np.uint8)
    inpainted = rng.integers(0, 256, (9, 20, 12, 3), dtype=np.uint8)
    theirs = rng.integers(0, 256, (9, 20, 12), dtype=np.uint8)
    theirs[:, :12] = 0  # the person stands below
    everything = (tmp_path, frames, masks, inpainted, theirs)
    for name, images in zip(("ori", "seg", "inp", "theirs"), everything[1:], strict=True):
        write_stills(tmp_path / name, images)
    clips = np.array([[0, 2, 4, 5], [3, 3, 4, 5]])
    with open_frames(tmp_path / "ori", composite(tmp_path, late=late)) as reader:
        assert reader.num_frames == 6
        result = reader.read_clips(clips).numpy()
        again = reader.read_clips(clips).numpy()
    assert result.shape == (2, 4, 20, 12, 3)
    np.testing.assert_array_equal(result, again)
    for clip, frames in zip(clips, result, strict=True):
        np.testing.assert_array_equal(frames, by_hand(everything, clip.tolist(), late))


def test_the_background_takes_the_short_side_of_the_foreground(parts):
    """16×12 becomes 10×8, and the person comes to stand where theirs stood in that."""
    folder, frames, masks, *_ = parts
    with open_frames(folder / "ori", composite(folder)) as reader:
        result = reader.read([2, 4]).numpy()
    assert result.shape == (2, 10, 8, 3)
    # Theirs: rows 8–11 and columns 5–11, whose center (9.5, 8) comes to lie at (5.75, 5.17). Ours:
    # three full rows 2–4 and one of 100; columns 3 and 4.
    ours = (2 + 3 + 4 + 5 * 100 / 255) / (3 + 100 / 255), 3.5
    move = int(5.75 - ours[0]), int(5.17 - ours[1])
    for time, number in enumerate((2, 4)):
        for row, column in zip(*np.nonzero(masks[number] > 128), strict=True):
            down, right = row + move[0], column + move[1]
            np.testing.assert_array_equal(result[time, down, right], frames[number, row, column])


def test_a_clip_has_one_translation_of_its_own(parts):
    """The same frame stands elsewhere in another clip, but not within one."""
    folder, *_ = parts
    with open_frames(folder / "ori", composite(folder)) as reader:
        clips = reader.read_clips(np.array([[0, 5], [5, 5]]))
        assert not torch.equal(clips[0, 1], clips[1, 1])
        assert torch.equal(clips[1, 0], clips[1, 1])
        assert torch.equal(clips[0], reader.read([0, 5]))


def test_the_person_alone_stands_on_the_mean_color(parts):
    folder, frames, masks, *_ = parts
    with open_frames(folder / "ori", Composite(folder / "seg")) as reader:
        result = reader.read([4, 0]).numpy()
    expected = np.where(masks[[4, 0], ..., None] > 128, frames[[4, 0]], (123, 116, 103))
    np.testing.assert_array_equal(result, expected)


def test_centers():
    mask = torch.zeros(5, 8)
    assert center_of_mass(mask).tolist() == [2.5, 4.0]
    mask[1, 6], mask[4, 6] = 1, 2
    assert center_of_mass(mask).tolist() == [3.0, 6.0]


@pytest.mark.parametrize("move", [(0, 0), (2, -3), (-4, 1), (9, 0), (0, -9), (-9, 9), (4, 6)])
def test_what_falls_beside_the_canvas_is_lost(move):
    frames = torch.arange(1, 41, dtype=torch.uint8).reshape(1, 5, 8, 1).expand(1, 5, 8, 3)
    result = paste(
        torch.zeros(1, 6, 7, 3, dtype=torch.uint8), frames, frames[..., 0] % 2 == 1, move
    )
    for row in range(6):
        for column in range(7):
            y, x = row - move[0], column - move[1]
            value = int(frames[0, y, x, 0]) if 0 <= y < 5 and 0 <= x < 8 else 0
            assert result[0, row, column, 0] == (value if value % 2 else 0)


def test_folders_that_are_too_short_are_named(parts):
    folder, *_ = parts
    with pytest.raises(VideoError, match=r"inp: 9 frames, but 10 are expected"):
        open_frames(folder / "ori", composite(folder, num_frames=10))
    (folder / "seg" / "img_00005.png").unlink()
    with (
        open_frames(folder / "ori", composite(folder)) as reader,
        pytest.raises(VideoError, match=r"seg: frames 5 to 5 are wanted, there are frames 0 to 4"),
    ):
        reader.read([5])
    with pytest.raises(VideoError, match="gone: not a readable folder"):
        open_frames(folder / "ori", Composite(folder / "gone"))
