"""The redundancy-reduction regulariser (public summary of the paper).

a, e: [B, D] standardised over B;   c_j = mean_b a_bj e_bj;   R3 = mean_j c_j^2
"""

from __future__ import annotations

from torch import Tensor


def redundancy(anchored: Tensor, exploratory: Tensor, eps: float = 1e-5) -> Tensor:
    """Mean squared same-dimension correlation of two stream summaries [B, D]; in [0, 1].

    Zero for a batch of one, where no correlation is defined.
    """
    if len(anchored) < 2:
        return (anchored.sum() + exploratory.sum()) * 0.0
    correlation = (_standardise(anchored, eps) * _standardise(exploratory, eps)).mean(dim=0)
    return correlation.square().mean()


def _standardise(x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(dim=0)
    return centred / (centred.square().mean(dim=0) + eps).sqrt()
