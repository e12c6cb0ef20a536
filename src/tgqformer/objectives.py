"""Contrastive losses: embeddings and indices in, scalar out.

InfoNCE with in-batch negatives (arXiv 1807.03748), symmetric as in CLIP (arXiv 2103.00020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tgqformer.numerics import smooth_max


def info_nce(
    query: Tensor,
    target: Tensor,
    scale: Tensor | float,
    *,
    negatives: Tensor | None = None,
    known: Tensor | None = None,
    both_sides: bool = False,
    log_odds: Tensor | None = None,
    counted: Tensor | None = None,
) -> Tensor:
    """Symmetric InfoNCE over pairs (query_i, target_i).

    Args:
        query: [B, D] unit vectors.
        target: [B, D] unit vectors; row i is the positive of query i.
        scale: 1 / temperature.
        negatives: [H, D] unit vectors that are nobody's positive unless `known` says so.
        known: [B + B + H] x [B + B + H] bool, True where two of the items (queries, then targets,
            then negatives) are known to belong together or are the same item; such a column is
            left out of the denominator, save the pair's own.
        both_sides: the other queries too are negatives of a query, and likewise for targets
            (2B - 2 negatives instead of B - 1), as NoteLLM-2 does.
        log_odds: [B + B + H], log of how often each item is drawn into a batch, up to a constant.
            It is taken off the item's column, so that an item that is drawn often is no stronger a
            negative for it (logQ correction, Yi et al., RecSys 2019, eq. 3).
        counted: [B] bool, pairs whose loss counts; the items of the others are negatives alone.

    Returns:
        The mean over both directions. Zero vectors give log of the number of columns.
    """
    batch = len(query)
    parts = [query, target] if negatives is None else [query, target, negatives]
    everything = torch.cat(parts)  # [2B + H, D]
    rows = torch.cat([query, target])  # [2B, D]
    logits = rows @ everything.T * scale  # [2B, 2B + H]
    if log_odds is not None:
        logits = logits - log_odds
    index = torch.arange(2 * batch, device=query.device)
    partner = (index + batch) % (2 * batch)
    hidden = torch.zeros_like(logits, dtype=torch.bool) if known is None else known[: 2 * batch]
    hidden = hidden.clone()
    hidden[index, index] = True
    if not both_sides:
        same_side = index[:, None] // batch == index[None, :] // batch
        hidden[:, : 2 * batch] |= same_side
    hidden[index, partner] = False
    logits = logits.masked_fill(hidden, float("-inf"))
    if counted is not None:
        both = torch.cat([counted, counted])
        logits, partner = logits[both], partner[both]
    return F.cross_entropy(logits, partner)


def likeness(student: Tensor, teacher: Tensor) -> Tensor:
    """How far students are from their teachers: the mean of 1 - cosine, in [0, 2].

    Args:
        student: [M, D] unit vectors. teacher: [M, D] unit vectors, not trained by this.
    """
    return (1 - (student * teacher.detach()).sum(dim=-1)).mean()


def image_text_contrast(
    image: Tensor,
    text: Tensor,
    scale: Tensor | float,
    valid: Tensor,
    same: Tensor | None = None,
) -> Tensor:
    """CLIP's loss between the image and the text of each item: the alignment loss (ours).

    Args:
        image: [N, D] unit vectors, or [N, R, D] for R parts of an image: how far it fits a text is
            then the smooth maximum over its parts, since a text speaks of some part of it.
        text: [N, D] unit vectors.
        valid: [N] bool, the item has both.
        same: [N, N] bool, items whose texts are equal, no negatives of one another.

    Returns:
        The mean over valid items and both directions; zero where fewer than two are valid.
    """
    if int(valid.sum()) < 2:
        return (image.sum() + text.sum()) * scale * 0.0
    image, text = image[valid], text[valid]
    fit = image @ text.T if image.ndim == 2 else smooth_max(image @ text.T, dim=1)
    logits = fit * scale  # [N, N]
    if same is not None:
        hidden = same[valid][:, valid].clone()
        hidden.fill_diagonal_(False)
        logits = logits.masked_fill(hidden, float("-inf"))
    labels = torch.arange(len(image), device=image.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def matryoshka(
    loss: Callable[[Sequence[Tensor]], Tensor], vectors: Sequence[Tensor], dims: Sequence[int]
) -> Tensor:
    """Mean of `loss` over the first d dimensions, renormalised, for each d in `dims`.

    Matryoshka representation learning (arXiv 2205.13147).

    Args:
        loss: takes the shortened vectors in the order of `vectors`.
        vectors: tensors [*, D], D at least every d.
    """
    terms = [loss([F.normalize(v[..., :d], dim=-1) for v in vectors]) for d in dims]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total / len(terms)


def redundancy(anchored: Tensor, exploratory: Tensor, eps: float = 1e-5) -> Tensor:
    """Mean squared same-dimension correlation of two stream summaries [B, D]; in [0, 1].

    The redundancy-reduction regulariser (public summary of the paper):

        a, e: [B, D] standardised over B;   c_j = mean_b a_bj e_bj;   R3 = mean_j c_j^2

    Zero for a batch of one, where no correlation is defined.
    """
    if len(anchored) < 2:
        return (anchored.sum() + exploratory.sum()) * 0.0
    correlation = (_standardise(anchored, eps) * _standardise(exploratory, eps)).mean(dim=0)
    return correlation.square().mean()


def _standardise(x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(dim=0)
    return centred / (centred.square().mean(dim=0) + eps).sqrt()
