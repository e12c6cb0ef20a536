"""The redundancy regulariser against numpy's correlation; Matryoshka as a mean of prefixes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tgqformer.objectives import info_nce, matryoshka, redundancy


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equals_numpy_corrcoef():
    a, e = normal(40, 6, seed=0), normal(40, 6, seed=1)
    e = e + 0.7 * a * torch.tensor([1.0, -1, 0, 2, 0.1, -3])
    expected = np.mean([np.corrcoef(a[:, j], e[:, j])[0, 1] ** 2 for j in range(6)])
    assert redundancy(a, e, eps=0.0).item() == pytest.approx(expected, abs=1e-12)
    assert redundancy(a, e).item() == pytest.approx(expected, abs=1e-4)


def test_one_for_identical_streams_whatever_their_scale_and_place():
    a = normal(50, 4, seed=0)
    assert redundancy(a, a).item() == pytest.approx(1.0, abs=1e-4)
    assert redundancy(a, -3 * a + 5).item() == pytest.approx(1.0, abs=1e-4)


def test_zero_for_streams_without_correlation():
    n = 64
    t = 2 * torch.pi * torch.arange(n, dtype=torch.float64) / n
    a = torch.stack([torch.sin((j + 1) * t) for j in range(4)], dim=1)
    e = torch.stack([torch.cos((j + 1) * t) for j in range(4)], dim=1)
    assert redundancy(a, e).item() == pytest.approx(0.0, abs=1e-12)
    assert redundancy(normal(4000, 8, seed=0), normal(4000, 8, seed=1)).item() < 2e-3


def test_only_the_same_dimension_counts():
    a = normal(500, 2, seed=0)
    assert redundancy(a, a.flip(1)).item() < 0.02


def test_symmetric_and_within_bounds():
    a, e = normal(9, 5, seed=0), normal(9, 5, seed=1)
    torch.testing.assert_close(redundancy(a, e), redundancy(e, a))
    assert 0 <= redundancy(a, e).item() <= 1


def test_a_constant_stream_and_a_batch_of_one_are_zero_with_finite_gradients():
    for a in (torch.ones(8, 3), normal(1, 3, seed=0).float()):
        a = a.requires_grad_()
        e = normal(len(a), 3, seed=1).float().requires_grad_()
        loss = redundancy(a, e)
        loss.backward()
        assert loss.item() == 0
        assert bool(a.grad.isfinite().all())
        assert bool(e.grad.isfinite().all())


def test_pushing_it_down_parts_the_streams():
    a, e = normal(30, 3, seed=0), normal(30, 3, seed=1)
    e = (e + a).requires_grad_()
    before = redundancy(a, e)
    before.backward()
    assert redundancy(a, e.detach() - 5 * e.grad).item() < before.item()


def test_matryoshka_is_the_mean_of_prefix_losses():
    query, target = normal(5, 8, seed=0), normal(5, 8, seed=1)

    def loss(vectors):
        return info_nce(*vectors, 5.0)

    dims = [2, 4, 8]
    prefixes = [[F.normalize(v[:, :d], dim=-1) for v in (query, target)] for d in dims]
    expected = torch.stack([loss(p) for p in prefixes]).mean()
    torch.testing.assert_close(matryoshka(loss, [query, target], dims), expected)


def test_matryoshka_over_the_full_width_is_the_plain_loss():
    query, target = (F.normalize(normal(5, 8, seed=s), dim=-1) for s in (0, 1))
    plain = info_nce(query, target, 5.0)
    torch.testing.assert_close(matryoshka(lambda v: info_nce(*v, 5.0), [query, target], [8]), plain)


def test_matryoshka_never_reads_beyond_a_prefix():
    query, target = normal(5, 8, seed=0).requires_grad_(), normal(5, 8, seed=1)
    matryoshka(lambda v: info_nce(*v, 5.0), [query, target], [2, 3]).backward()
    assert not bool(query.grad[:, 3:].any())
    assert bool(query.grad[:, :3].any(dim=0).all())
