"""What a device computes in."""

from __future__ import annotations

import torch

from tgqformer.cores import cpu_has_bfloat16


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether a device computes in bfloat16, and does not only emulate it."""
    kind = torch.device(device).type
    if kind == "cpu":
        return cpu_has_bfloat16()
    return kind != "cuda" or not torch.cuda.is_available() or torch.cuda.is_bf16_supported(False)


def resolve_dtype(name: str, device: torch.device | str) -> torch.dtype:
    """The dtype to compute in: "auto" is bfloat16 where the device computes in it, else float32."""
    if name == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype)
    return dtype
