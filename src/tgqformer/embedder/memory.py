"""How much memory a run of a network takes beside its weights, counted without the memory.

Every tensor that an operation makes is entered into a ledger with its bytes, and struck out when
Python lets go of it; tensors without storage (device "meta") are entered as if they had one. What a
kernel needs for itself while it runs is not seen, and an allocator's rounding neither. Attention is
counted as two products with its scores held in full, where a fused kernel holds a row at a time.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class ActivationLedger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of living tensors that were made inside its block.

    Attributes:
        live: bytes now.
        peak: the most there were at once.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        for tensor in _tensors((args, kwargs)):  # what came from outside: weights and inputs
            self._enter(tensor, counted=False)
        out = func(*args, **kwargs)
        for tensor in _tensors(out):
            self._enter(tensor, counted=True)
        return out

    def _enter(self, tensor: Tensor, *, counted: bool) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes() if counted else 0
        if key not in self._known:
            self._known.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._strike, key, size).atexit = False

    def _strike(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def peak_activations(run: Callable[[], object]) -> int:
    """The most bytes of activations that `run()` holds at once, its result included."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    ledger = ActivationLedger()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), ledger:
        run()
    return ledger.peak


def kept_for_backward(run: Callable[[], object], apart: Iterable[Tensor] = ()) -> int:
    """Bytes that autograd keeps of `run()` for the backward pass, each storage counted once.

    Args:
        apart: tensors that are there anyway, weights above all.
    """
    known = {x.untyped_storage()._cdata for x in apart}
    sizes: dict[int, int] = {}
    held: list[Tensor] = []  # or a storage that is let go of would lend its place to another

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        held.append(x)
        if storage._cdata not in known:
            sizes[storage._cdata] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        run()
    return sum(sizes.values())


def empty_weights(module: nn.Module) -> None:
    """Give a module that was built on the meta device weights of the CPU; for a fake mode."""
    for part in module.modules():
        for own in (part._parameters, part._buffers):
            for name, x in own.items():
                if x is not None:
                    empty = torch.empty(x.shape, dtype=x.dtype, device="cpu")
                    trained = x.requires_grad
                    weight = nn.Parameter(empty, trained) if isinstance(x, nn.Parameter) else empty
                    own[name] = weight  # type: ignore[assignment]


def weight_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers, one that is shared counted once."""
    storages: dict[int, int] = {
        x.untyped_storage()._cdata: x.untyped_storage().nbytes()
        for x in (*module.parameters(), *module.buffers())
    }
    return sum(storages.values())


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
