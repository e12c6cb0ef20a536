"""The frozen view: fitted in closed form, saved, and beside the trained dimensions."""

from __future__ import annotations

import pytest
import torch

from tgqformer.embedder.frozen_view import FrozenView, join, statistics
from tgqformer.towers.base import TowerBatch


def towers(items: int = 6, seed: int = 0) -> TowerBatch:
    g = torch.Generator().manual_seed(seed)
    mask = torch.ones(items, 5, dtype=torch.bool)
    mask[0, 3:] = False
    return TowerBatch(
        visual=torch.randn(items, 5, 4, generator=g),
        visual_mask=mask,
        image_global=torch.randn(items, 3, generator=g),
        text=torch.randn(items, 2, 4, generator=g),
        text_mask=torch.ones(items, 2, dtype=torch.bool),
        text_global=torch.randn(items, 4, generator=g),
        presence=torch.ones(items, 2, dtype=torch.bool),
    )


def test_statistics_leave_padding_out() -> None:
    batch = towers()
    seen = statistics(batch)
    assert seen.shape == (6, 3 + 4 + 4)
    torch.testing.assert_close(seen[0, 3:7], batch.visual[0, :3].mean(dim=0))
    torch.testing.assert_close(seen[1, 7:], batch.visual[1].std(dim=0, correction=0))


def test_fit_lets_what_varies_within_pairs_count_less() -> None:
    g = torch.Generator().manual_seed(1)
    kind = torch.randn(40, 11, generator=g).repeat_interleave(2, dim=0)
    kind[:, 0] = 0  # says nothing of the kind
    items = kind + 0.1 * torch.randn(80, 11, generator=g)
    items[:, 0] = 10 * torch.randn(80, generator=g)  # ... and varies within pairs
    view = FrozenView(visual=4, image_global=3, dims=11)
    view.fit(items, torch.arange(0, 80, 2), torch.arange(1, 80, 2))
    vectors = (items - view.mean) @ view.projection
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    score = unit @ unit.T - 2 * torch.eye(80)
    partner = torch.arange(80).view(-1, 2).flip(1).flatten()
    assert (score.argmax(dim=1) == partner).float().mean() > 0.95
    raw = torch.nn.functional.normalize(items, dim=-1)
    plain = (raw @ raw.T - 2 * torch.eye(80)).argmax(dim=1) == partner
    assert plain.float().mean() < 0.7


def test_an_item_without_photo_has_no_frozen_part() -> None:
    batch = towers()
    batch.presence[2, 0] = False
    view = FrozenView(visual=4, image_global=3, dims=5)
    view.fit(statistics(batch), torch.tensor([0, 1]), torch.tensor([3, 4]))
    out = view(batch)
    assert out.shape == (6, 5)
    assert not out[2].any()
    torch.testing.assert_close(out[[0, 1, 3]].norm(dim=-1), torch.ones(3))


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_joint_cosine_is_the_weighted_mean_of_both(share: float) -> None:
    g = torch.Generator().manual_seed(2)
    trained, frozen = (
        torch.nn.functional.normalize(torch.randn(4, d, generator=g), dim=-1) for d in (7, 9)
    )
    both = join(trained, frozen, share)
    expected = (1 - share) * trained @ trained.T + share * frozen @ frozen.T
    torch.testing.assert_close(both @ both.T, expected)
