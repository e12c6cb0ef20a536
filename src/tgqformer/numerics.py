"""What a device computes in, and a maximum with a gradient everywhere."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import torch
from torch import Tensor


@cache
def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16 (AVX512-BF16 or AMX); others only emulate it."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:  # not Linux
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16"})


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


SHARPNESS = 20.0
"""For cosines: a part whose cosine is 0.15 lower counts a twentieth of the best one."""


def smooth_max(x: Tensor, dim: int = -1) -> Tensor:
    """log mean exp(SHARPNESS x) / SHARPNESS along `dim`: between the mean and the maximum."""
    return (x * SHARPNESS).logsumexp(dim=dim).sub(math.log(x.shape[dim])) / SHARPNESS
