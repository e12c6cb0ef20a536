"""Laws of the corruptions: identity at 0, growth with severity, one seed one result, any image."""

from __future__ import annotations

import itertools
import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tgqformer.corruption import (
    CLUTTER,
    CORRUPTIONS,
    OVERLAYS,
    UNSEEN_CLUTTER,
    UNSEEN_OVERLAYS,
    Corruption,
    corrupt,
)
from tgqformer.errors import ConfigError

KINDS = tuple(CORRUPTIONS)


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def noise_image(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def packshot(side: int = 160) -> Image.Image:
    image = Image.new("RGB", (side, side), (250, 250, 250))
    image.paste((180, 40, 60), (side // 4, side // 4, 3 * side // 4, 3 * side // 4))
    image.paste((250, 220, 80), (side // 3, side // 3, side // 2, side // 2))
    return image


def changed(before: Image.Image, after: Image.Image) -> float:
    """Return the mean absolute difference of two images, 0..255."""
    return float(np.abs(np.asarray(before, np.float64) - np.asarray(after, np.float64)).mean())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(width=st.integers(1, 90), height=st.integers(1, 90), seed=st.integers(0, 2**32))
def test_severity_zero_is_the_identity(kind: str, width: int, height: int, seed: int) -> None:
    image = noise_image(width, height, seed % 1000)
    assert corrupt(image, kind, 0, generator(seed)).tobytes() == image.tobytes()
    assert CORRUPTIONS[kind](image, 0.0, generator(seed)).tobytes() == image.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(
    width=st.integers(1, 120),
    height=st.integers(1, 120),
    severity=st.floats(1e-6, 1.0),
    seed=st.integers(0, 2**32),
)
def test_any_size_keeps_its_size_and_its_source(
    kind: str, width: int, height: int, severity: float, seed: int
) -> None:
    image = noise_image(width, height)
    before = image.tobytes()
    result = corrupt(image, kind, severity, generator(seed))
    assert result.size == image.size
    assert result.mode == "RGB"
    assert image.tobytes() == before


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_gives_one_result_and_others_others(kind: str) -> None:
    image = packshot()
    first = [corrupt(image, kind, 0.6, generator(s)).tobytes() for s in range(6)]
    assert first == [corrupt(image, kind, 0.6, generator(s)).tobytes() for s in range(6)]
    assert len(set(first)) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_more_severity_changes_more(kind: str) -> None:
    image = packshot()
    levels = (0.1, 0.4, 0.7, 1.0)
    mean = [
        np.mean([changed(image, corrupt(image, kind, v, generator(s))) for s in range(40)])
        for v in levels
    ]
    assert all(a < b for a, b in itertools.pairwise(mean)), mean


@pytest.mark.parametrize("kind", KINDS)
def test_weak_is_nearly_nothing_and_strong_is_much(kind: str) -> None:
    image = packshot()
    weak = np.mean([changed(image, corrupt(image, kind, 0.01, generator(s))) for s in range(10)])
    strong = np.mean([changed(image, corrupt(image, kind, 1.0, generator(s))) for s in range(10)])
    assert weak < 1.0
    assert strong > 4.0


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16", "YCbCr"])
@pytest.mark.parametrize("severity", [0.0, 0.5])
def test_other_modes_become_rgb(mode: str, severity: float) -> None:
    result = corrupt(Image.new(mode, (40, 30)), KINDS, severity, generator(0))
    assert (result.mode, result.size) == ("RGB", (40, 30))


def test_transparency_is_laid_on_white() -> None:
    result = corrupt(Image.new("RGBA", (4, 4), (200, 0, 0, 0)), [], 0.5, generator(0))
    assert result.getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize("severity", [-0.01, 1.01, math.nan, math.inf, "much", None])
def test_a_severity_outside_the_range_is_refused_with_value_and_rule(severity: object) -> None:
    for kinds in ([], ["banner"]):
        with pytest.raises(ConfigError, match=r"severity is .*0\.\.1"):
            corrupt(packshot(), kinds, severity, generator(0))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"0\.\.1"):
        CORRUPTIONS["crop"](packshot(), severity, generator(0))  # type: ignore[arg-type]


def test_an_unknown_kind_names_the_nearest_known() -> None:
    with pytest.raises(ConfigError, match="did you mean 'watermark'"):
        corrupt(packshot(), ["watermrk"], 0.5, generator(0))


def test_kinds_compose_in_the_order_given_on_streams_of_their_own() -> None:
    image = packshot()
    both = corrupt(image, ["banner", "frame"], 0.5, generator(3))
    assert both.tobytes() != corrupt(image, ["frame", "banner"], 0.5, generator(3)).tobytes()
    # The second kind gets the same stream whatever the first one drew.
    seeds = generator(3)
    seeds.integers(2**63)
    own = generator(int(seeds.integers(2**63)))
    other = corrupt(image, ["distractor_paste", "frame"], 0.5, generator(3))
    alone = CORRUPTIONS["frame"](image, 0.5, own)
    assert other.getpixel((0, 0)) == both.getpixel((0, 0)) == alone.getpixel((0, 0))


def test_the_registries_are_disjoint_and_complete() -> None:
    families = (OVERLAYS, CLUTTER, UNSEEN_OVERLAYS, UNSEEN_CLUTTER)
    assert [len(family) for family in families] == [7, 4, 5, 4]
    assert set().union(*families) == set(CORRUPTIONS)
    assert sum(map(len, families)) == len(CORRUPTIONS)


@pytest.mark.parametrize(
    ("seen", "unseen"), [(OVERLAYS, UNSEEN_OVERLAYS), (CLUTTER, UNSEEN_CLUTTER)]
)
@pytest.mark.parametrize("severity", [0.25, 0.5, 1.0])
def test_unseen_kinds_change_about_as_much_as_those_of_training(
    seen: dict[str, Corruption], unseen: dict[str, Corruption], severity: float
) -> None:
    image = packshot()

    def area(kinds: dict[str, Corruption]) -> float:
        views = [corrupt(image, k, severity, generator(s)) for k in kinds for s in range(12)]
        moved = [np.asarray(view, int) - np.asarray(image, int) for view in views]
        return float(np.mean([(np.abs(m).max(axis=2) > 24).mean() for m in moved]))

    assert 0.5 < area(unseen) / area(seen) < 2.0


def test_the_result_does_not_depend_on_global_random_state() -> None:
    np.random.seed(int.from_bytes(os.urandom(2), "little"))  # noqa: NPY002
    image = packshot()
    for kind in KINDS:
        one = corrupt(image, kind, 0.8, generator(1)).tobytes()
        np.random.seed(7)  # noqa: NPY002
        assert corrupt(image, kind, 0.8, generator(1)).tobytes() == one
