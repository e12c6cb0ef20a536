"""The ledger holds what a person would add up, with storage and without."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tgqformer.embedder.memory import peak_activations, weight_bytes

torch.set_num_threads(1)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_lives_at_once_is_added_up(device):
    x = torch.empty(7, 10, device=device)
    wide = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 5)).to(device)
    assert peak_activations(lambda: wide(x)) == 2 * 7 * 40 * 4  # before and after the ReLU

    same = nn.Linear(10, 10, device=device)

    def chain() -> torch.Tensor:
        y = x
        for _ in range(20):
            y = same(y)
        return y

    assert peak_activations(chain) == 2 * 7 * 10 * 4
    assert peak_activations(lambda: [same(x) for _ in range(20)]) == 20 * 7 * 10 * 4


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_views_weights_and_inputs_take_nothing(device):
    x = torch.empty(7, 10, device=device)
    weight = torch.empty(10, 10, device=device)
    assert peak_activations(lambda: (x.T, weight[2:], x.view(70), x.relu_())) == 0


def test_half_the_precision_is_half_the_bytes():
    x = torch.empty(7, 10, device="meta")
    full = peak_activations(lambda: x + 1)
    assert peak_activations(lambda: x.to(torch.bfloat16)) * 2 == full


def test_shared_weights_count_once():
    layer = nn.Linear(10, 4, bias=False)
    tied = nn.Sequential(layer, layer)
    assert weight_bytes(tied) == 10 * 4 * 4
    assert weight_bytes(nn.BatchNorm1d(3)) == 4 * 3 * 4 + 8  # two weights, two statistics, a count
