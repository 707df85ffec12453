import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mien.data.synthetic import draw_faces
from mien.training.augment import augment, erase
from mien.training.recipe import Augment

FACES = torch.from_numpy(draw_faces(64, seed=0, size=32).images)
FLIP_ONLY = Augment(rotation=0, scale=0, shift=0, brightness=0, contrast=0, erase=0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2).float()


def test_strength_0_at_the_same_size_changes_nothing() -> None:
    assert torch.equal(augment(FACES, Augment(), size=32, strength=0, generator=seeded(0)), plain(FACES))


@pytest.mark.parametrize("size", [16, 24, 48])
def test_strength_0_at_another_size_only_resizes(size: int) -> None:
    resized = augment(FACES, Augment(), size=size, strength=0, generator=seeded(0))
    expected = F.interpolate(plain(FACES), size=(size, size), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resized, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_the_same_generator_state_gives_the_same_images(strength: float) -> None:
    first, again, other = (
        augment(FACES, Augment(), size=24, strength=strength, generator=seeded(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_generator_is_not_touched() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    augment(FACES, Augment(), size=24, strength=1, generator=seeded(0))
    assert torch.equal(torch.rand(3), expected)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    strength=st.floats(0, 1),
    size=st.integers(8, 40),
    channels=st.sampled_from([1, 3]),
    n=st.integers(1, 5),
)
def test_images_keep_their_shape_and_range(seed: int, strength: float, size: int, channels: int, n: int) -> None:
    images = torch.randint(0, 256, (n, 20, 20, channels), dtype=torch.uint8, generator=seeded(seed))
    changed = augment(images, Augment(), size=size, strength=strength, generator=seeded(seed))
    assert changed.shape == (n, channels, size, size)
    assert changed.dtype == torch.float32
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_half_of_the_images_are_mirrored() -> None:
    changed = augment(FACES, FLIP_ONLY, size=32, strength=1, generator=seeded(0))
    as_is = (changed - plain(FACES)).abs().amax((1, 2, 3)) < 0.1
    mirrored = (changed - plain(FACES).flip(3)).abs().amax((1, 2, 3)) < 0.1
    assert (as_is ^ mirrored).all()
    assert 20 < int(mirrored.sum()) < 44


def test_flips_can_be_switched_off() -> None:
    still = Augment(flip=False, rotation=0, scale=0, shift=0, brightness=0, contrast=0, erase=0)
    changed = augment(FACES, still, size=32, strength=1, generator=seeded(0))
    torch.testing.assert_close(changed, plain(FACES), atol=0.01, rtol=0)


def test_rotated_images_keep_their_proportions() -> None:
    """A rotated disc is the same disc: rotation neither stretches nor shifts."""
    rows = torch.arange(33.0)[:, None] - 16
    disc = 255 * (rows**2 + rows.T**2 < 100).to(torch.uint8)
    rotate_only = Augment(flip=False, rotation=45, scale=0, shift=0, brightness=0, contrast=0, erase=0)
    images = disc[None, :, :, None].expand(16, -1, -1, -1)
    changed = augment(images, rotate_only, size=33, strength=1, generator=seeded(0))
    assert (changed - plain(images)).abs().mean() < 6
    assert not torch.equal(changed[0], changed[1])


def test_brightness_changes_with_strength() -> None:
    light = Augment(flip=False, rotation=0, scale=0, shift=0, brightness=0.3, contrast=0, erase=0)
    grey = torch.full((256, 8, 8, 1), 100, dtype=torch.uint8)
    for strength in (0.5, 1.0):
        means = augment(grey, light, size=8, strength=strength, generator=seeded(0)).mean((1, 2, 3))
        assert 100 * (1 - 0.3 * strength) <= means.min() < 100 * (1 - 0.25 * strength)
        assert 100 * (1 + 0.25 * strength) < means.max() <= 100 * (1 + 0.3 * strength) + 1e-3


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_erasing_covers_a_share_of_the_images(probability: float) -> None:
    images = torch.full((2000, 1, 32, 32), -1.0)
    covered = erase(images, probability=probability, generator=seeded(0)) != -1
    touched = covered.flatten(1).any(1)
    assert float(touched.float().mean()) == pytest.approx(probability, abs=0.04)
    assert float(covered.float().mean((1, 2, 3)).max()) <= 0.3  # 25 % and the rounding to pixels


def test_an_erased_rectangle_has_one_grey_level() -> None:
    images = torch.full((50, 3, 32, 32), -1.0)
    for image in erase(images, probability=1.0, generator=seeded(0)):
        inside = image[:, image[0] != -1]
        assert 0 <= inside.min() == inside.max() <= 255
        rows, columns = (image[0] != -1).nonzero(as_tuple=True)
        assert len(rows) == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
