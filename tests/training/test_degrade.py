"""Degradations: each has the effect of its name, within its range, to the chosen share of images."""

from __future__ import annotations

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mien.data import draw_faces
from mien.errors import ConfigError
from mien.training import Augment
from mien.training.augment import augment
from mien.training.degrade import LUMINANCE, _blurring, _resampled, _shrinking, compress, degrade

FACES = torch.from_numpy(draw_faces(64, seed=0, size=48).images).permute(0, 3, 1, 2).float()
ALL = Augment(degraded=1.0)
EVERYTHING = replace(
    ALL, side_light=0.4, gamma=2.0, blur=0.05, low_resolution=3.0, noise=12.0, jpeg_quality=20, box_jitter=0.05
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def degraded(config: Augment, images: Tensor = FACES, *, strength: float = 1.0) -> Tensor:
    return degrade(images, config, strength=strength, generator=seeded())


def detail(images: Tensor) -> Tensor:
    """Return the mean difference of neighbouring pixels of each image."""
    return images.diff(dim=3).abs().mean((1, 2, 3))


def test_without_degradations_nothing_changes_and_nothing_is_drawn() -> None:
    generator = seeded()
    assert degrade(FACES, Augment(), strength=1.0, generator=generator) is FACES
    assert torch.equal(generator.get_state(), seeded().get_state())


@pytest.mark.parametrize("size", [20, 48])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_images_keep_their_shape_and_range(size: int, channels: int, strength: float) -> None:
    images = torch.randint(0, 256, (6, 30, 24, channels), dtype=torch.uint8, generator=seeded())
    changed = augment(images, EVERYTHING, size=size, strength=strength, generator=seeded())
    assert changed.shape == (6, channels, size, size)
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() <= changed.max() <= 255
    assert torch.equal(changed, augment(images, EVERYTHING, size=size, strength=strength, generator=seeded()))


@pytest.mark.parametrize(
    "setting",
    [
        {"side_light": 0.4},
        {"gamma": 2.0},
        {"blur": 0.05},
        {"low_resolution": 3.0},
        {"noise": 9.0},
        {"jpeg_quality": 10},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_a_share_of_the_images_is_degraded(setting: dict[str, float]) -> None:
    images = FACES.repeat(8, 1, 1, 1)
    for share in (0.0, 0.3):
        changed = degraded(replace(Augment(degraded=share), **setting), images)  # type: ignore[arg-type]
        touched = ((changed - images).abs().amax((1, 2, 3)) > 2).float().mean()
        assert share - 0.15 < float(touched) < share + 0.07  # the weakest are not seen


def test_side_light_brightens_one_side_and_darkens_the_other() -> None:
    grey = torch.full((200, 1, 33, 33), 100.0)
    changed = degraded(replace(ALL, side_light=0.5), grey)
    assert changed.mean((1, 2, 3)).tolist() == pytest.approx([100.0] * 200, abs=0.01)
    assert float(changed[:, 0, 16, 16].sub(100).abs().max()) < 1e-3
    assert 140 < float(changed.max()) <= 150
    assert 50 <= float(changed.min()) < 60


def test_gamma_keeps_black_and_white_and_moves_grey_within_its_range() -> None:
    levels = torch.tensor([0.0, 127.5, 255.0]).view(1, 1, 1, 3).expand(500, 1, 1, 3)
    changed = degraded(replace(ALL, gamma=2.0), levels)
    assert torch.equal(changed[..., [0, 2]], levels[..., [0, 2]])
    middle = changed[..., 1] / 255
    assert 0.25 <= middle.min() < 0.26
    assert 0.69 < middle.max() <= 0.5**0.5 + 1e-6


def test_blur_is_gaussian() -> None:
    blurred = _resampled(FACES[:4], lambda side: _blurring(side, torch.full((4,), 2 / 48)))
    for image, result in zip(FACES[:4, 0].numpy(), blurred[:, 0].numpy(), strict=True):
        expected = cv2.GaussianBlur(image, (0, 0), 2.0)
        np.testing.assert_allclose(result[8:-8, 8:-8], expected[8:-8, 8:-8], atol=0.2)


def test_low_resolution_averages_cells_and_interpolates_between_them() -> None:
    factor = torch.tensor([1.0, 2.0, 3.0])
    result = _resampled(FACES[:3], lambda side: _shrinking(side, factor))
    torch.testing.assert_close(result[0], FACES[0])
    for image, shrunk, by in ((FACES[1, 0], result[1, 0], 2), (FACES[2, 0], result[2, 0], 3)):
        small = cv2.resize(image.numpy(), (48 // by, 48 // by), interpolation=cv2.INTER_AREA)
        expected = cv2.resize(small, (48, 48), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(shrunk.numpy(), expected, atol=0.01)


@pytest.mark.parametrize(("setting", "value"), [("blur", 0.06), ("low_resolution", 4.0)])
def test_more_strength_leaves_less_detail(setting: str, value: float) -> None:
    config = replace(ALL, **{setting: value})  # type: ignore[arg-type]
    weak, strong = (detail(degraded(config, strength=strength)).mean() for strength in (0.3, 1.0))
    assert strong < weak < detail(FACES).mean()


def test_noise_has_a_sigma_of_its_own_for_each_image() -> None:
    grey = torch.full((300, 1, 48, 48), 128.0)
    sigma = degraded(replace(ALL, noise=10.0), grey).std((1, 2, 3))
    assert 9.5 < float(sigma.max()) < 10.5
    assert float(sigma.mean()) == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_compression_is_that_of_jpeg(quality: int) -> None:
    """Pillow with the same table of luminance, of which the quality is a scale."""
    image = FACES[1, 0].round().to(torch.uint8).numpy()
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    table = Image.open(file).quantization[0]  # type: ignore[attr-defined]
    expected = np.asarray(Image.open(file), np.float32)
    ours = compress(torch.from_numpy(image).float()[None, None], torch.full((1, 1, 1, 1), float(quality)))[0, 0].numpy()
    if quality == 50:
        assert sorted(table) == sorted(np.ravel(LUMINANCE).tolist())
    assert np.abs(ours - expected).mean() < 0.5  # ties may be rounded to the other side
    assert np.corrcoef((ours - image).ravel(), (expected - image).ravel())[0, 1] > 0.94  # the same artefacts


def test_blocks_may_begin_outside_of_the_image() -> None:
    images, quality = FACES[:2, :, :44, :41], torch.full((2, 1, 1, 1), 10.0)
    plain, shifted = compress(images, quality), compress(images, quality, corner=(3, 5))
    assert plain.shape == shifted.shape == images.shape
    assert not torch.equal(plain, shifted)
    assert (shifted - images).abs().mean() < 12


def test_a_jittered_box_is_off_by_centre_width_and_height() -> None:
    """A square in the middle is found shifted and stretched, upright, by the errors of its detector."""
    images = torch.zeros(400, 96, 96, 1, dtype=torch.uint8)
    images[:, 32:64, 32:64] = 255
    still = Augment(flip=False, rotation=0, scale=0, shift=0, brightness=0, contrast=0, erase=0)
    changed = augment(images, replace(still, box_jitter=0.05), size=96, strength=1.0, generator=seeded())[:, 0] / 255
    at = torch.arange(96) + 0.5
    x = (changed.sum(1) * at).sum(1) / changed.sum((1, 2)) / 96
    width = changed[:, 48].sum(1) / 32
    height = changed[:, :, 48].sum(1) / 32
    assert float(x.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(x.std()) == pytest.approx(0.05, rel=0.2)
    assert float(width.log().std()) == pytest.approx(0.05, rel=0.3)
    assert abs(float(torch.corrcoef(torch.stack([width, height]))[0, 1])) < 0.2


def test_old_settings_draw_as_before() -> None:
    """The switched-off degradations take nothing from the generator: these are sums of the version before them."""
    faces = torch.from_numpy(draw_faces(8, seed=0, size=32).images)
    changed = augment(faces, Augment(), size=24, strength=1.0, generator=seeded(7))
    sums = [74930.8, 31458.3, 74003.4, 86903.2, 120714.9, 56970.1, 29786.1, 56411.3]
    assert changed.sum((1, 2, 3)).tolist() == pytest.approx(sums, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 0.5}, "gamma is 0.5; expected 1 or more"),
        ({"low_resolution": float("nan")}, "low_resolution is nan"),
        ({"noise": -1.0}, "noise is -1.0; expected 0 or more"),
        ({"degraded": 1.5}, "degraded is 1.5; expected 0 to 1"),
        ({"jpeg_quality": 0}, "jpeg_quality is 0; expected 1 to 100"),
    ],
)
def test_impossible_ranges_raise(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Augment(**settings)  # type: ignore[arg-type]
