"""Gathering across processes with gradient, so that every process sees the whole batch.

Each process computes the loss of the whole batch from its own items (with gradient) and the
others' (constants). The gradients of all processes then add up to that of one process with the
whole batch; DistributedDataParallel averages, so the loss is multiplied by their number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from tgqformer.training.losses import PerItem

T = TypeVar("T")


def world() -> tuple[int, int]:
    """(rank, number of processes); (0, 1) outside a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gather(items: PerItem, order: Tensor) -> PerItem:
    """Join the processes' items and put them into the order of the whole batch.

    Args:
        items: name to [m, D], the same m on every process.
        order: [M] int64; row i of the whole batch is row order[i] of the joined processes.
    """
    rank, size = world()
    if size == 1:
        return items
    return {name: _gather(x, rank, size)[order] for name, x in items.items()}


def _gather(x: Tensor, rank: int, size: int) -> Tensor:
    parts = [torch.empty_like(x) for _ in range(size)]
    dist.all_gather(parts, x.detach().contiguous())
    parts[rank] = x
    return torch.cat(parts)


def from_first(make: Callable[[], T]) -> T:
    """What the first process makes, in every process: figures that all must agree on."""
    rank, size = world()
    if size == 1:
        return make()
    box: list[T | None] = [make() if rank == 0 else None]
    dist.broadcast_object_list(box, src=0)
    assert box[0] is not None
    return box[0]
