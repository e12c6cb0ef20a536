"""InfoNCE and the image-text contrast: laws, and equality with plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tgqformer.objectives import image_text_contrast, info_nce, likeness


def unit(rows: int, width: int = 6, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, width, generator=g, dtype=torch.float64), dim=-1)


def by_hand(
    query: Tensor,
    target: Tensor,
    scale: float,
    negatives: Tensor | None = None,
    known: Tensor | None = None,
    both_sides: bool = False,
    log_odds: Tensor | None = None,
) -> Tensor:
    """One row at a time, one column at a time; a column weighs by one over its odds."""
    b = len(query)
    everything = [*query, *target, *([] if negatives is None else negatives)]
    odds = torch.ones(len(everything)) if log_odds is None else log_odds.exp()
    losses = []
    for row in range(2 * b):
        own = (row + b) % (2 * b)
        terms = []
        for column, other in enumerate(everything):
            same_side = column < 2 * b and row // b == column // b
            left_out = column == row or (same_side and not both_sides)
            if known is not None and bool(known[row, column]):
                left_out = True
            if column == own or not left_out:
                terms.append(torch.exp(scale * everything[row] @ other) / odds[column])
        positive = torch.exp(scale * everything[row] @ everything[own]) / odds[own]
        losses.append(-torch.log(positive / torch.stack(terms).sum()))
    return torch.stack(losses).mean()


def some_known(size: int, seed: int = 3) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    known = torch.rand(size, size, generator=g) < 0.2
    return known | known.T | torch.eye(size, dtype=torch.bool)


@pytest.mark.parametrize("both_sides", [False, True])
@pytest.mark.parametrize("hard", [0, 3])
def test_zero_vectors_give_log_of_the_number_of_columns(both_sides, hard):
    b, zero = 5, torch.zeros(5, 4)
    negatives = torch.zeros(hard, 4) if hard else None
    loss = info_nce(zero, zero, 20.0, negatives=negatives, both_sides=both_sides)
    columns = hard + (2 * b - 1 if both_sides else b)
    assert loss.item() == pytest.approx(math.log(columns), abs=1e-6)


@pytest.mark.parametrize("both_sides", [False, True])
@pytest.mark.parametrize("hard", [0, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_loop(both_sides, hard, masked):
    query, target = unit(5, seed=1), unit(5, seed=2)
    negatives = unit(hard, seed=4) if hard else None
    known = some_known(10 + hard) if masked else None
    ours = info_nce(query, target, 9.0, negatives=negatives, known=known, both_sides=both_sides)
    torch.testing.assert_close(ours, by_hand(query, target, 9.0, negatives, known, both_sides))


@pytest.mark.parametrize("both_sides", [False, True])
@pytest.mark.parametrize("hard", [0, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_with_odds_it_equals_the_loop(both_sides, hard, masked):
    query, target = unit(5, seed=1), unit(5, seed=2)
    negatives = unit(hard, seed=4) if hard else None
    known = some_known(10 + hard) if masked else None
    odds = torch.randn(10 + hard, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    options = {"negatives": negatives, "known": known, "both_sides": both_sides, "log_odds": odds}
    torch.testing.assert_close(
        info_nce(query, target, 9.0, **options), by_hand(query, target, 9.0, **options)
    )


def test_odds_that_are_all_the_same_change_nothing():
    query, target, negatives = unit(6, seed=1), unit(6, seed=2), unit(2, seed=3)
    plain = info_nce(query, target, 7.0, negatives=negatives)
    same = info_nce(query, target, 7.0, negatives=negatives, log_odds=torch.full((14,), 3.0))
    torch.testing.assert_close(plain, same)


def test_an_item_that_is_drawn_often_is_a_weaker_negative():
    query, target, negatives = (x.requires_grad_() for x in (unit(6), unit(6, seed=1), unit(2)))
    push = []
    for odds in (0.0, 2.0):
        log_odds = torch.zeros(14)
        log_odds[12] = odds
        loss = info_nce(query, target, 7.0, negatives=negatives, log_odds=log_odds)
        push.append(float(torch.autograd.grad(loss, negatives)[0][0].norm()))
    assert push[1] < 0.5 * push[0]


def test_pairs_that_do_not_count_are_negatives_alone():
    """The mean over the others' rows: what they alone lose among all the columns."""
    query, target, counted = unit(5, seed=1), unit(5, seed=2), torch.tensor([1, 0, 1, 1, 0]).bool()
    found = info_nce(query, target, 9.0, counted=counted, both_sides=True)
    rest = torch.cat([query[~counted], target[~counted]])
    alone = info_nce(query[counted], target[counted], 9.0, negatives=rest, both_sides=True)
    torch.testing.assert_close(found, alone)
    every = info_nce(query, target, 9.0, counted=torch.ones(5).bool())
    torch.testing.assert_close(every, info_nce(query, target, 9.0))


def test_likeness_is_one_less_the_mean_cosine_and_trains_the_student_alone():
    student, teacher = unit(5, seed=1).requires_grad_(), unit(5, seed=2).requires_grad_()
    found = likeness(student, teacher)
    cosines = torch.stack([s @ t for s, t in zip(student, teacher)])
    torch.testing.assert_close(found, 1 - cosines.mean())
    found.backward()
    assert bool(student.grad.any())
    assert teacher.grad is None
    assert likeness(teacher, teacher).item() == pytest.approx(0)
    assert likeness(-teacher, teacher).item() == pytest.approx(2)


@pytest.mark.parametrize("both_sides", [False, True])
def test_query_and_target_may_change_places(both_sides):
    query, target, negatives = unit(6, seed=1), unit(6, seed=2), unit(2, seed=3)
    a = info_nce(query, target, 7.0, negatives=negatives, both_sides=both_sides)
    b = info_nce(target, query, 7.0, negatives=negatives, both_sides=both_sides)
    torch.testing.assert_close(a, b)


def test_equals_clip_where_there_is_nothing_else():
    query, target = unit(6, seed=1), unit(6, seed=2)
    logits, labels = query @ target.T * 5.0, torch.arange(6)
    clip = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(info_nce(query, target, 5.0), clip)


def test_the_order_of_pairs_does_not_matter():
    query, target, order = unit(6, seed=1), unit(6, seed=2), torch.tensor([3, 0, 5, 1, 4, 2])
    a = info_nce(query, target, 5.0, both_sides=True)
    b = info_nce(query[order], target[order], 5.0, both_sides=True)
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("masked", [True, False])
def test_a_known_positive_is_no_negative(masked):
    """Query 0 wants target 2 too: only without the mask is it pushed away from it."""
    known = torch.eye(6, dtype=torch.bool)
    if masked:
        known[0, 5] = known[5, 0] = True
    target = unit(3, seed=2)
    elsewhere = torch.cat([target[:2], unit(1, seed=8)])
    gradients = []
    for targets in (target, elsewhere):
        query = unit(3, seed=1).requires_grad_()
        info_nce(query, targets, 10.0, known=known).backward()
        gradients.append(query.grad[0])
    assert torch.equal(*gradients) is masked


def test_all_known_leaves_the_positive_alone_and_a_loss_of_zero():
    query, target = unit(4, seed=1), unit(4, seed=2)
    loss = info_nce(query, target, 10.0, known=torch.ones(8, 8, dtype=torch.bool), both_sides=True)
    assert loss.item() == pytest.approx(0.0, abs=1e-12)


def test_the_mask_given_is_left_as_it_was():
    known = some_known(8)
    before = known.clone()
    info_nce(unit(4, seed=1), unit(4, seed=2), 10.0, known=known)
    assert torch.equal(known, before)


def test_gradients_are_finite_at_the_largest_scale():
    query, target = unit(8, seed=1).requires_grad_(), unit(8, seed=2).requires_grad_()
    scale = torch.tensor(100.0, dtype=torch.float64, requires_grad=True)
    info_nce(query, target, scale, both_sides=True).backward()
    assert all(bool(x.grad.isfinite().all()) for x in (query, target, scale))
    assert scale.grad.item() != 0


def contrast_by_hand(image, text, scale, valid, same) -> Tensor:
    rows = [i for i in range(len(image)) if valid[i]]
    losses = []
    for a, b in ((image, text), (text, image)):
        for i in rows:
            columns = [j for j in rows if j == i or not bool(same[i, j])]
            terms = torch.stack([torch.exp(scale * a[i] @ b[j]) for j in columns])
            losses.append(-torch.log(torch.exp(scale * a[i] @ b[i]) / terms.sum()))
    return torch.stack(losses).mean()


def test_image_text_contrast_equals_the_loop():
    image, text = unit(7, seed=1), unit(7, seed=2)
    valid = torch.tensor([1, 1, 0, 1, 1, 0, 1], dtype=torch.bool)
    same = torch.eye(7, dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    ours = image_text_contrast(image, text, 6.0, valid, same)
    torch.testing.assert_close(ours, contrast_by_hand(image, text, 6.0, valid, same))
    everyone = torch.ones(7, dtype=torch.bool)
    none = torch.eye(7, dtype=torch.bool)
    torch.testing.assert_close(
        image_text_contrast(image, text, 6.0, everyone),
        contrast_by_hand(image, text, 6.0, everyone, none),
    )


def test_image_text_contrast_of_zero_vectors_is_log_of_the_items():
    zero = torch.zeros(6, 3)
    valid = torch.tensor([1, 1, 1, 1, 0, 0], dtype=torch.bool)
    assert image_text_contrast(zero, zero, 5.0, valid).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("present", [0, 1])
def test_image_text_contrast_needs_two(present):
    image, text = unit(3, seed=1).requires_grad_(), unit(3, seed=2).requires_grad_()
    valid = torch.zeros(3, dtype=torch.bool)
    valid[:present] = True
    loss = image_text_contrast(image, text, 5.0, valid)
    loss.backward()
    assert loss.item() == 0
    assert not bool(image.grad.any())


def test_items_left_out_get_no_gradient():
    image, text = unit(4, seed=1).requires_grad_(), unit(4, seed=2).requires_grad_()
    valid = torch.tensor([1, 1, 0, 1], dtype=torch.bool)
    image_text_contrast(image, text, 5.0, valid).backward()
    assert not bool(image.grad[2].any())
    assert not bool(text.grad[2].any())
    assert bool(image.grad[[0, 1, 3]].any(dim=1).all())
