"""Outlines of the group Kitchen: mug, teapot, plate, oven glove."""

from __future__ import annotations

from tgqformer.storefront.geometry import (
    Jitter,
    Part,
    Point,
    band,
    box,
    curve,
    ellipse,
    lathe,
    line,
    mirror,
)

__all__ = ["mug", "oven_glove", "plate", "teapot"]


def mug(silhouette: int, j: Jitter) -> list[Part]:
    """Straight; narrow at the foot; with a belly."""
    profile = [
        [(0.12, 0.33), (0.9, 0.33 + 0.01 * j[0])],
        [(0.12, 0.36), (0.9, 0.23 + 0.02 * j[0])],
        [(0.14, 0.29), (0.35, 0.33), (0.6, 0.38 + 0.01 * j[0]), (0.82, 0.32), (0.9, 0.22)],
    ][silhouette]
    cx, top, half = 0.42, profile[0][0], profile[0][1]
    reach = 0.92 + 0.02 * j[1]
    x = cx + half - 0.03
    handle = curve(
        [(x, 0.28), (reach - 0.05, 0.27), (reach, 0.45), (reach - 0.1, 0.66), (x - 0.03, 0.7)],
        closed=False,
    )
    if silhouette == 1:
        handle = ((x, 0.27), (reach, 0.27), (reach - 0.06, 0.62), (x - 0.07, 0.66))
    return [
        line(handle, 0.075, "base"),
        Part(lathe(profile, cx, smooth=silhouette == 2), "pattern", "round"),
        Part(ellipse(cx, profile[-1][0], profile[-1][1], 0.03, 0, 180), "base", "round"),
        Part(ellipse(cx, top, half, 0.06), "light"),
        Part(ellipse(cx, top + 0.02, half * 0.86, 0.038), "dark"),
        line((*ellipse(cx, top, half, 0.06), (cx + half, top)), 0.022, "accent", edge=False),
    ]


def teapot(silhouette: int, j: Jitter) -> list[Part]:
    """Round; tall; flat with a bow over the lid."""
    wide = 0.02 * j[0]
    profile = [
        [(0.3, 0.13), (0.36, 0.24), (0.58, 0.31 + wide), (0.78, 0.25), (0.88, 0.16)],
        [(0.2, 0.11), (0.32, 0.17), (0.6, 0.22 + wide), (0.84, 0.25), (0.92, 0.2)],
        [(0.46, 0.14), (0.52, 0.27), (0.66, 0.34 + wide), (0.8, 0.28), (0.88, 0.18)],
    ][silhouette]
    top = profile[0][0]
    spout_y = (0.64, 0.7, 0.72)[silhouette]
    spout = curve(
        [
            (0.24, spout_y + 0.08),
            (0.12, spout_y),
            (0.02, top + 0.04),
            (0.07, top + 0.01),
            (0.17, spout_y - 0.14),
            (0.28, spout_y - 0.12),
        ]
    )
    if silhouette == 2:
        handle = ellipse(0.5, 0.52, 0.3, 0.4 + 0.02 * j[1], 180, 360)
    else:
        x = 0.68
        handle = curve(
            [(x - 0.02, top + 0.12), (0.93, top + 0.1), (0.95, 0.58), (x + 0.02, 0.76)],
            closed=False,
        )
    lid = lathe([(top - 0.08, 0.03), (top - 0.06, 0.09), (top, profile[0][1] + 0.01)])
    return [
        line(handle, 0.05, "wood" if silhouette == 2 else "base"),
        Part(spout, "base", "round"),
        Part(lathe(profile), "pattern", "round"),
        Part(band(profile, profile[-1][0] - 0.035, profile[-1][0]), "accent", "round"),
        Part(lid, "accent", "round"),
        Part(ellipse(0.5, top - 0.1, 0.035, 0.035), "base", "ball"),
    ]


def plate(silhouette: int, j: Jitter) -> list[Part]:
    """Round; square; oval."""
    if silhouette == 1:
        corner = 0.12 + 0.03 * j[0]
        rims = [box(k, k, 1 - k, 1 - k, corner) for k in (0.04, 0.09, 0.24, 0.26)]
    else:
        ry = 0.46 if silhouette == 0 else 0.32 + 0.02 * j[0]
        rims = [ellipse(0.5, 0.5, 0.46 * k, ry * k) for k in (1.0, 0.91, 0.62, 0.58)]
    return [
        Part(rims[0], "accent", "soft"),
        Part(rims[1], "pattern", "soft"),
        Part(rims[2], "accent", edge=False),
        Part(rims[3], "pattern", "ball", turn=10),
    ]


def oven_glove(silhouette: int, j: Jitter) -> list[Part]:
    """A thumb to the right; slim with a long cuff; wide with a thumb to the left."""
    wide = 0.02 * j[0]
    hand: list[Point] = [
        (0.24, 0.78),
        (0.2, 0.5),
        (0.22, 0.2),
        (0.36, 0.05),
        (0.52 + wide, 0.07),
        (0.62 + wide, 0.22),
        (0.63, 0.44),
        (0.72, 0.36),
        (0.84, 0.32 + 0.02 * j[1]),
        (0.88, 0.42),
        (0.78, 0.58),
        (0.66, 0.7),
        (0.64, 0.78),
    ]
    cuff = box(0.22, 0.76, 0.66, 0.94, 0.02)
    if silhouette == 1:
        hand = [(0.3 + (x - 0.24) * 0.8, y * 0.85 + 0.02) for x, y in hand]
        cuff = box(0.28, 0.66, 0.64, 0.96, 0.02)
    loop = ellipse(0.27, 0.95, 0.04, 0.05)
    parts = [
        line(loop, 0.02, "accent"),
        Part(curve(hand), "pattern", "round"),
        Part(cuff, "accent", "soft"),
    ]
    if silhouette == 2:
        stretch = [
            Part(tuple((x, 0.06 + y * 0.94) for x, y in p.outline), p.fill, p.shading, p.width)
            for p in parts
        ]
        return [Part(mirror(p.outline), p.fill, p.shading, p.width, 12) for p in stretch]
    return parts
