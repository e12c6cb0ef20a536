"""Gradient cache (arXiv 2101.06983): the gradient of a large batch in the memory of a small one.

Forward all chunks without a graph; take the loss's gradient at the outputs; forward each chunk
again with a graph and hand that gradient back. Random states are replayed, so dropout agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Generic, TypeVar

import torch
from torch import Tensor

from tgqformer.training.losses import PerItem

C = TypeVar("C")


class _RandomState:
    """The random state before a chunk, to be replayed."""

    def __init__(self) -> None:
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    @contextmanager
    def replayed(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=range(len(self.cuda))):
            torch.set_rng_state(self.cpu)
            if self.cuda:
                torch.cuda.set_rng_state_all(self.cuda)
            yield


class GradientCache(Generic[C]):
    """Backward through `loss(concatenated outputs of all chunks)`."""

    def __init__(
        self,
        forward: Callable[[C], PerItem],
        loss: Callable[[PerItem], Tensor],
        backward: Callable[[Tensor], None] = Tensor.backward,
        no_sync: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Take the parts.

        Args:
            forward: chunk -> per-item outputs.
            loss: per-item outputs of the whole batch -> scalar; every gradient flows through
                them, so a learned temperature is one of them.
            backward: runs the backward pass of a chunk.
            no_sync: keeps gradients from being averaged across processes before the last chunk.
        """
        self.forward, self.loss = forward, loss
        self.backward, self.no_sync = backward, no_sync

    def step(self, chunks: Sequence[C]) -> Tensor:
        """Fill the gradients; return the loss, detached."""
        states: list[_RandomState] = []
        outputs: list[PerItem] = []
        with torch.no_grad():
            for chunk in chunks:
                states.append(_RandomState())
                outputs.append(self.forward(chunk))
        names = list(outputs[0])
        leaves = [{name: out[name].detach().requires_grad_() for name in names} for out in outputs]
        loss = self.loss({n: torch.cat([leaf[n] for leaf in leaves]) for n in names})
        loss.backward()  # type: ignore[no-untyped-call]
        for i, (chunk, state, leaf) in enumerate(zip(chunks, states, leaves, strict=True)):
            last = i == len(chunks) - 1
            with nullcontext() if last else self.no_sync():
                with state.replayed():
                    again = self.forward(chunk)
                terms = [
                    (again[name] * gradient).sum()
                    for name, x in leaf.items()
                    if (gradient := x.grad) is not None
                ]
                self.backward(torch.stack(terms).sum())
        return loss.detach()
