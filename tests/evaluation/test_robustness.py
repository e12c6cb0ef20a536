"""Laws of the robustness curve: severity 0 is the clean figure, and one seed one corruption."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from tgqformer.catalog.catalog import Catalog
from tgqformer.catalog.items import Item, Pair
from tgqformer.errors import ConfigError
from tgqformer.evaluation.evaluate import evaluate
from tgqformer.evaluation.robustness import corrupt_item, robustness_curve
from tgqformer.retrieval.scores import unit


def pixels(item: Item) -> np.ndarray:
    with Image.open(io.BytesIO(item.images[0])) as image:
        return np.asarray(image.convert("RGB").resize((8, 8)), dtype=np.float32).ravel()


class Eye:
    """An embedder that sees small pictures and nothing else; it notes how many it was shown."""

    name = "eye"

    def __init__(self) -> None:
        self.shown: list[int] = []

    def encode(self, items: Sequence[Item], *, progress: bool = False) -> np.ndarray:
        self.shown.append(len(items))
        return unit(np.stack([pixels(item) for item in items]) - 127.5)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """40 photos of random blocks; 2r and 2r + 1 look alike and want each other."""
    rng = np.random.default_rng(0)
    items = []
    for row in range(40):
        if row % 2 == 0:
            blocks = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        noisy = np.clip(blocks + rng.normal(0, 10, blocks.shape), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noisy).resize((64, 64), Image.Resampling.NEAREST).save(buffer, "PNG")
        items.append(Item(f"i{row}", images=(buffer.getvalue(),)))
    pairs = [Pair(f"i{row}", f"i{row ^ 1}", split="test") for row in range(20)]
    return Catalog(items, pairs)


def test_severity_zero_is_the_clean_figure_and_more_is_no_better(catalog):
    eye = Eye()
    points = robustness_curve(
        eye,
        catalog,
        kinds=["crop", ("banner", "occlusion", "crop")],
        severities=(0, 0.4, 1),
        ks=(1,),
    )
    clean = evaluate(Eye(), catalog, ks=(1,))
    assert [(p.kind, p.severity) for p in points] == [
        (kind, severity)
        for kind in ("crop", "banner+occlusion+crop")
        for severity in (0.0, 0.4, 1.0)
    ]
    assert clean["hit@1"] == 1
    for point in points:
        if point.severity == 0:
            assert point.evaluation.to_dict() == clean.to_dict()
    assert points[2].evaluation["hit@1"] < points[0].evaluation["hit@1"]
    assert points[5].evaluation["hit@1"] < points[3].evaluation["hit@1"]
    # The clean shop once, then the 20 queries alone.
    assert eye.shown == [40, 20, 20, 20, 20]


def test_all_photos_can_be_corrupted(catalog):
    eye = Eye()
    (point,) = robustness_curve(
        eye, catalog, kinds=["banner"], severities=[0.5], where="all", ks=(1,), bootstrap=0
    )
    expected = [corrupt_item(item, ["banner"], 0.5) for item in catalog.items]
    again = evaluate(Eye().encode(expected), catalog, name="eye", ks=(1,), bootstrap=0)
    assert point.evaluation.to_dict() == again.to_dict()
    assert eye.shown == [40, 40]


def test_the_corruption_hangs_on_seed_and_item_alone(catalog):
    item, other = catalog.items[:2]
    once = corrupt_item(item, ["occlusion"], 0.5, seed=3)
    assert corrupt_item(item, ["occlusion"], 0.5, seed=3) == once
    assert corrupt_item(item, ["occlusion"], 0.5, seed=4) != once
    same_photo = Item(other.item_id, images=item.images)
    assert corrupt_item(same_photo, ["occlusion"], 0.5, seed=3).images != once.images


def test_severity_zero_keeps_the_pixels_and_what_cannot_be_read_stays(catalog):
    item = catalog.items[0]
    np.testing.assert_array_equal(pixels(corrupt_item(item, ["crop"], 0)), pixels(item))
    broken = Item("x", images=(b"no picture", item.images[0]))
    assert corrupt_item(broken, ["crop"], 0.5).images[0] == b"no picture"


def test_wrong_input_is_one_clear_sentence(catalog):
    with pytest.raises(ConfigError, match="where is 'pool'"):
        robustness_curve(Eye(), catalog, kinds=["crop"], where="pool")  # type: ignore[arg-type]
    eye = Eye()
    with pytest.raises(ConfigError, match="bannr"):
        robustness_curve(eye, catalog, kinds=["banner", "bannr"])
    with pytest.raises(ConfigError, match=r"1\.5"):
        robustness_curve(eye, catalog, kinds=["banner"], severities=[0, 1.5])
    assert eye.shown == []
