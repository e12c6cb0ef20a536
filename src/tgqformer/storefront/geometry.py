"""Outlines in a unit square (x to the right, y down), and the parts that a product is made of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]
Outline: TypeAlias = tuple[Point, ...]
Jitter: TypeAlias = tuple[float, float, float, float]
"""Four numbers in -1..1 that vary the proportions of one product."""


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a product, painted over the pieces before it.

    Attributes:
        outline: a closed polygon, or an open line if `width` is above 0.
        fill: "pattern" (the hidden style), "base", "accent", "third" (colours of the hidden
            colourway), or a material of any colourway: "wood", "metal", "dark", "light".
        shading: "round" (a cylinder lit from the left), "ball", "soft" (lit from above), "flat".
        width: thickness of a line, in units of the square.
        turn: degrees by which the pattern is turned on this part.
        edge: whether a darker contour is drawn.
    """

    outline: Outline
    fill: str = "pattern"
    shading: str = "flat"
    width: float = 0.0
    turn: float = 0.0
    edge: bool = True


def ellipse(
    cx: float, cy: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0
) -> Outline:
    """Return an ellipse, or the arc of it from `start` to `end` degrees (0 right, 90 down)."""
    steps = max(6, round(abs(end - start) / 10))
    points = []
    for i in range(steps + (0 if abs(end - start) >= 360 else 1)):
        angle = math.radians(start + (end - start) * i / steps)
        points.append((cx + rx * math.cos(angle), cy + ry * math.sin(angle)))
    return tuple(points)


def box(x0: float, y0: float, x1: float, y1: float, radius: float = 0.0) -> Outline:
    """Return a rectangle, its corners rounded."""
    if radius <= 0:
        return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    r = min(radius, (x1 - x0) / 2, (y1 - y0) / 2)
    corners = (
        (x1 - r, y0 + r, -90.0),
        (x1 - r, y1 - r, 0.0),
        (x0 + r, y1 - r, 90.0),
        (x0 + r, y0 + r, 180.0),
    )
    return tuple(p for x, y, a in corners for p in ellipse(x, y, r, r, a, a + 90))


def curve(points: Sequence[Point], *, closed: bool = True, steps: int = 6) -> Outline:
    """Return a Catmull-Rom curve through the points."""
    n = len(points)
    result: list[Point] = []
    for i in range(n if closed else n - 1):
        if closed:
            p0, p1, p2, p3 = (points[(i + k) % n] for k in (-1, 0, 1, 2))
        else:
            p0, p1, p2, p3 = (points[min(n - 1, max(0, i + k))] for k in (-1, 0, 1, 2))
        for s in range(steps):
            t = s / steps
            result.append(
                (_spline(p0[0], p1[0], p2[0], p3[0], t), _spline(p0[1], p1[1], p2[1], p3[1], t))
            )
    if not closed:
        result.append(points[-1])
    return tuple(result)


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3
    )


def lathe(profile: Sequence[Point], cx: float = 0.5, *, smooth: bool = True) -> Outline:
    """Return the mirrored outline of (y, half width) pairs, from top to bottom."""
    side = [(half, y) for y, half in profile]
    if smooth:
        side = list(curve(side, closed=False))
    right = [(cx + half, y) for half, y in side]
    left = [(cx - half, y) for half, y in reversed(side)]
    return tuple(right + left)


def band(profile: Sequence[Point], y0: float, y1: float, cx: float = 0.5) -> Outline:
    """Return the slice y0..y1 of the body that `lathe` would draw from straight pieces."""
    inner = [(y, h) for y, h in profile if y0 < y < y1]
    ends = [(y, _half_at(profile, y)) for y in (y0, y1)]
    return lathe([ends[0], *inner, ends[1]], cx, smooth=False)


def _half_at(profile: Sequence[Point], y: float) -> float:
    for (ya, ha), (yb, hb) in itertools.pairwise(profile):
        if ya <= y <= yb:
            return ha + (hb - ha) * (y - ya) / max(1e-9, yb - ya)
    return profile[-1][1]


def mirror(outline: Sequence[Point], cx: float = 0.5) -> Outline:
    """Return the outline flipped from left to right."""
    return tuple((2 * cx - x, y) for x, y in outline)


def line(points: Sequence[Point], width: float, fill: str, *, edge: bool = True) -> Part:
    """Return a line as a part."""
    return Part(tuple(points), fill, width=width, edge=edge)
