"""Matryoshka representation learning (arXiv 2205.13147): a loss on nested prefixes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional as F


def matryoshka(
    loss: Callable[[Sequence[Tensor]], Tensor], vectors: Sequence[Tensor], dims: Sequence[int]
) -> Tensor:
    """Mean of `loss` over the first d dimensions, renormalised, for each d in `dims`.

    Args:
        loss: takes the shortened vectors in the order of `vectors`.
        vectors: tensors [*, D], D at least every d.
    """
    terms = [loss([F.normalize(v[..., :d], dim=-1) for v in vectors]) for d in dims]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total / len(terms)
