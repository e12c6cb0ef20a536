"""Outlines of the group Home: table lamp, armchair, vase, cushion."""

from __future__ import annotations

from tgqformer.storefront.geometry import Jitter, Part, band, box, curve, ellipse, lathe, line

__all__ = ["armchair", "cushion", "table_lamp", "vase"]


def table_lamp(silhouette: int, j: Jitter) -> list[Part]:
    """A cone on a turned foot; a drum on three legs; a dome on a rod."""
    low = 0.5 + 0.03 * j[0]
    if silhouette == 0:
        foot = lathe(
            [
                (low, 0.03),
                (0.6, 0.05),
                (0.72, 0.13 + 0.02 * j[1]),
                (0.86, 0.06),
                (0.9, 0.05),
                (0.93, 0.17),
                (0.96, 0.18),
            ]
        )
        shade = [(0.04, 0.19 + 0.02 * j[2]), (low, 0.37 + 0.02 * j[3])]
        base = [Part(foot, "base", "round")]
    elif silhouette == 1:
        shade = [(0.06, 0.3 + 0.02 * j[2]), (low, 0.33 + 0.02 * j[3])]
        spread = 0.22 + 0.03 * j[1]
        base = [
            line([(0.5, low), (0.5 - spread, 0.97)], 0.035, "wood"),
            line([(0.5, low), (0.5 + spread, 0.97)], 0.035, "wood"),
            line([(0.5, low), (0.5, 0.95)], 0.035, "wood"),
        ]
    else:
        shade = [(0.05, 0.05), (0.08, 0.16), (0.16, 0.27), (0.3, 0.36), (low, 0.4 + 0.02 * j[3])]
        base = [
            line([(0.5, low), (0.5, 0.93)], 0.03, "metal"),
            Part(lathe([(0.91, 0.04), (0.93, 0.2 + 0.02 * j[1]), (0.97, 0.22)]), "metal", "round"),
        ]
    top = shade[0][0]
    return [
        *base,
        Part(lathe(shade, smooth=silhouette == 2), "pattern", "round"),
        Part(band(shade, low - 0.05, low), "accent", "round"),
        Part(band(shade, top, top + 0.035), "accent", "round"),
    ]


def armchair(silhouette: int, j: Jitter) -> list[Part]:
    """Square; with a tall winged back; round as a tub."""
    legs = [
        Part(((x, 0.86), (x + 0.06, 0.86), (x + 0.045, 0.98), (x + 0.015, 0.98)), "wood")
        for x in (0.14, 0.8)
    ]
    arm = 0.17 + 0.02 * j[0]
    seat_top = 0.56 + 0.02 * j[1]
    if silhouette == 0:
        back = box(0.13, 0.14, 0.87, 0.75, 0.07)
        arms = [box(0.03, 0.42, 0.03 + arm, 0.88, 0.06), box(0.97 - arm, 0.42, 0.97, 0.88, 0.06)]
    elif silhouette == 1:
        back = curve(
            [
                (0.5, 0.03),
                (0.74, 0.05),
                (0.88, 0.12),
                (0.92, 0.4),
                (0.82, 0.75),
                (0.18, 0.75),
                (0.08, 0.4),
                (0.12, 0.12),
                (0.26, 0.05),
            ]
        )
        arms = [box(0.05, 0.48, 0.05 + arm, 0.88, 0.08), box(0.95 - arm, 0.48, 0.95, 0.88, 0.08)]
    else:
        back = ellipse(0.5, 0.53, 0.46, 0.33 + 0.02 * j[2])
        arms = [
            curve([(0.04, 0.5), (0.1, 0.44), (0.2, 0.5), (0.2, 0.88), (0.1, 0.86), (0.04, 0.7)]),
            curve([(0.96, 0.5), (0.9, 0.44), (0.8, 0.5), (0.8, 0.88), (0.9, 0.86), (0.96, 0.7)]),
        ]
    return [
        *legs,
        Part(back, "pattern", "soft"),
        Part(box(0.1, 0.7, 0.9, 0.88, 0.03), "base", "soft"),
        Part(box(0.15, seat_top, 0.85, seat_top + 0.19, 0.07), "pattern", "soft", turn=4),
        Part(box(0.17, seat_top + 0.15, 0.83, seat_top + 0.19, 0.02), "accent"),
        *[Part(a, "pattern", "round", turn=-6) for a in arms],
    ]


def vase(silhouette: int, j: Jitter) -> list[Part]:
    """An amphora with two handles; a ball with a narrow neck; a tall flared one with twigs."""
    belly = 0.03 * j[0]
    if silhouette == 0:
        profile = [
            (0.05, 0.17),
            (0.09, 0.13),
            (0.24, 0.12),
            (0.42, 0.3 + belly),
            (0.6, 0.3),
            (0.86, 0.13),
            (0.95, 0.16),
        ]
        extra = [
            line(
                curve(
                    [(0.5 + s * 0.12, 0.13), (0.5 + s * 0.32, 0.14), (0.5 + s * 0.28, 0.4)],
                    closed=False,
                ),
                0.045,
                "base",
            )
            for s in (-1, 1)
        ]
    elif silhouette == 1:
        profile = [
            (0.06, 0.12),
            (0.1, 0.08),
            (0.3, 0.08),
            (0.42, 0.24),
            (0.64, 0.4 + belly),
            (0.84, 0.28),
            (0.95, 0.17),
        ]
        extra = []
    else:
        profile = [(0.28, 0.24 + belly), (0.34, 0.18), (0.5, 0.15), (0.75, 0.22), (0.97, 0.18)]
        twigs = ((0.3, 0.03, 0.38, 0.3), (0.52, 0.0, 0.5, 0.3), (0.72, 0.05, 0.6, 0.3))
        extra = [line([(x1, y1), (x0, y0)], 0.014, "wood", edge=False) for x0, y0, x1, y1 in twigs]
        extra += [
            Part(ellipse(x0 + k * (x1 - x0), y0 + k * (y1 - y0), 0.035, 0.02), "light")
            for x0, y0, x1, y1 in twigs
            for k in (0.0, 0.3, 0.6)
        ]
    top, bottom = profile[0][0], profile[-1][0]
    half = profile[0][1]
    return [
        *extra,
        Part(lathe(profile), "pattern", "round"),
        Part(band(profile, bottom - 0.05, bottom), "accent", "round"),
        Part(ellipse(0.5, top, half, 0.025), "dark"),
        line((*ellipse(0.5, top, half, 0.025), (0.5 + half, top)), 0.018, "accent", edge=False),
    ]


def cushion(silhouette: int, j: Jitter) -> list[Part]:
    """Square with pointed corners; round with a button; long with tassels."""
    if silhouette == 1:
        r = 0.44 + 0.01 * j[0]
        ring = ellipse(0.5, 0.5, r, r)
        return [
            Part(ring, "pattern", "ball"),
            line((*ring, ring[0]), 0.03, "accent", edge=False),
            Part(ellipse(0.5, 0.5, 0.05, 0.05), "accent", "ball"),
        ]
    inset = 0.045 + 0.01 * j[1]
    y0, y1 = (0.08, 0.92) if silhouette == 0 else (0.27, 0.73)
    x0, x1 = (0.08, 0.92) if silhouette == 0 else (0.1, 0.9)
    middle = (y0 + y1) / 2
    cover = curve(
        [
            (x0, y0),
            (0.5, y0 + inset),
            (x1, y0),
            (x1 - inset, middle),
            (x1, y1),
            (0.5, y1 - inset),
            (x0, y1),
            (x0 + inset, middle),
        ]
    )
    tassels = []
    if silhouette == 2:
        for x, s in ((x0, -1), (x1, 1)):
            for y in (y0 + 0.02, middle - 0.08, middle + 0.08, y1 - 0.02):
                tassels.append(line([(x - s * 0.04, y), (x + s * 0.07, y)], 0.03, "accent"))
    return [
        *tassels,
        Part(cover, "pattern", "ball"),
        line((*cover, cover[0]), 0.02, "accent", edge=False),
    ]
