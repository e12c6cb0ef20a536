"""Outlines of the group Fashion: backpack, T-shirt, sneaker, dress."""

from __future__ import annotations

from tgqformer.storefront.geometry import Jitter, Part, box, curve, ellipse, line, mirror

__all__ = ["backpack", "dress", "sneaker", "t_shirt"]


def backpack(silhouette: int, j: Jitter) -> list[Part]:
    """Arched; a box with a rolled top; a flap with two buckles."""
    w = 0.3 + 0.02 * j[0]
    x0, x1 = 0.5 - w, 0.5 + w
    straps = [
        line(
            curve([(x, 0.3), (x - s * 0.12, 0.5), (x - s * 0.06, 0.84)], closed=False), 0.06, "dark"
        )
        for x, s in ((x0 + 0.03, 1), (x1 - 0.03, -1))
    ]
    handle = line(ellipse(0.5, 0.1, 0.09, 0.07, 180, 360), 0.035, "dark")
    if silhouette == 0:
        body = curve(
            [
                (x0, 0.92),
                (x0 - 0.01, 0.5),
                (x0 + 0.06, 0.18),
                (0.5, 0.07),
                (x1 - 0.06, 0.18),
                (x1 + 0.01, 0.5),
                (x1, 0.92),
                (0.5, 0.97),
            ]
        )
        zip_line = ellipse(0.5, 0.46, w * 0.82, 0.3, 195, 345)
        front = [line(zip_line, 0.018, "accent", edge=False)]
    elif silhouette == 1:
        body = box(x0, 0.2, x1, 0.96, 0.05)
        front = [
            Part(box(x0 - 0.02, 0.1, x1 + 0.02, 0.25, 0.05), "accent", "soft"),
            line([(0.5, 0.1), (0.5, 0.5)], 0.045, "dark"),
            Part(box(0.46, 0.36, 0.54, 0.42), "metal"),
        ]
    else:
        body = box(x0, 0.12, x1, 0.96, 0.08)
        flap = curve(
            [
                (x0 - 0.01, 0.1),
                (0.5, 0.08),
                (x1 + 0.01, 0.1),
                (x1 + 0.01, 0.42),
                (0.5, 0.53 + 0.02 * j[1]),
                (x0 - 0.01, 0.42),
            ]
        )
        front = [Part(flap, "pattern", "soft", turn=8)]
        for x in (0.36, 0.6):
            front.append(Part(box(x, 0.4, x + 0.045, 0.62), "accent"))
            front.append(Part(box(x - 0.01, 0.52, x + 0.055, 0.57), "metal"))
    pocket = box(x0 + 0.07, 0.64, x1 - 0.07, 0.9, 0.05)
    return [
        *straps,
        handle,
        Part(body, "pattern", "round"),
        Part(pocket, "pattern", "soft", turn=-8),
        line([(x0 + 0.07, 0.67), (x1 - 0.07, 0.67)], 0.03, "accent", edge=False),
        *front,
    ]


def t_shirt(silhouette: int, j: Jitter) -> list[Part]:
    """Round neck; V-neck with long sleeves; polo."""
    hem, waist = 0.93 + 0.02 * j[0], 0.26 + 0.015 * j[1]
    long = silhouette == 1
    cuff = ((0.1, 0.84), (0.2, 0.87)) if long else ((0.03, 0.38), (0.16, 0.46))
    left = [(0.38, 0.09), (0.24, 0.15), cuff[0], cuff[1], (0.27, 0.4), (0.5 - waist + 0.02, hem)]
    body = (*left, *mirror(list(reversed(left))))
    neck_depth = 0.24 if long else 0.17
    hollow = (
        ((0.38, 0.085), (0.5, neck_depth), (0.62, 0.085))
        if long
        else ellipse(0.5, 0.085, 0.12, neck_depth - 0.085, 0, 180)
    )
    parts = [
        Part(body, "pattern", "soft"),
        line(cuff, 0.03, "accent", edge=False),
        line(mirror(cuff), 0.03, "accent", edge=False),
        line(
            [(0.5 - waist + 0.02, hem - 0.01), (0.5 + waist - 0.02, hem - 0.01)],
            0.03,
            "accent",
            edge=False,
        ),
        line([(0.27, 0.4), (0.3, 0.2)], 0.008, "dark", edge=False),
        line([(0.73, 0.4), (0.7, 0.2)], 0.008, "dark", edge=False),
        Part(hollow, "dark"),
        line(hollow, 0.03, "accent", edge=False),
    ]
    if silhouette == 2:
        parts.append(Part(((0.37, 0.07), (0.5, 0.2), (0.4, 0.25), (0.33, 0.11)), "accent"))
        parts.append(Part(((0.63, 0.07), (0.5, 0.2), (0.6, 0.25), (0.67, 0.11)), "accent"))
        parts.append(Part(box(0.475, 0.19, 0.525, 0.38), "base"))
    return parts


def sneaker(silhouette: int, j: Jitter) -> list[Part]:
    """Low with laces; high; slip-on."""
    sole = curve(
        [
            (0.03, 0.76),
            (0.3, 0.78),
            (0.6, 0.8),
            (0.93, 0.76),
            (0.98, 0.82),
            (0.9, 0.87),
            (0.5, 0.88),
            (0.08, 0.87),
            (0.02, 0.82),
        ]
    )
    toe = 0.56 + 0.02 * j[0]
    if silhouette == 1:
        upper = curve(
            [
                (0.05, 0.78),
                (0.04, 0.5),
                (0.08, 0.2),
                (0.22, 0.16),
                (0.38, 0.18),
                (0.44, 0.36),
                (0.58, 0.52),
                (0.82, toe + 0.02),
                (0.95, 0.78),
                (0.5, 0.81),
            ]
        )
        opening = ellipse(0.23, 0.18, 0.15, 0.035)
        laces = [
            ((0.36 + 0.045 * i, 0.28 + 0.055 * i), (0.26 + 0.06 * i, 0.34 + 0.05 * i))
            for i in range(5)
        ]
    else:
        upper = curve(
            [
                (0.04, 0.78),
                (0.04, 0.52),
                (0.1, 0.4),
                (0.22, 0.43),
                (0.38, 0.4),
                (0.52, 0.48),
                (0.8, toe + 0.02),
                (0.95, 0.78),
                (0.5, 0.81),
            ]
        )
        opening = ellipse(0.23, 0.42, 0.14, 0.04)
        laces = [
            ((0.42 + 0.07 * i, 0.43 + 0.03 * i), (0.36 + 0.07 * i, 0.52 + 0.025 * i))
            for i in range(4)
        ]
    toe_cap = curve([(0.76, 0.79), (0.77, 0.66), (0.86, 0.63), (0.95, 0.77)])
    heel = curve([(0.035, 0.78), (0.035, 0.58), (0.12, 0.58), (0.15, 0.78)])
    parts = [
        Part(upper, "pattern", "soft"),
        Part(toe_cap, "light" if silhouette != 2 else "accent", "soft"),
        Part(heel, "accent"),
        Part(opening, "dark"),
        Part(sole, "light", "soft"),
        line([(0.05, 0.835), (0.5, 0.845), (0.94, 0.83)], 0.02, "accent", edge=False),
    ]
    if silhouette == 2:
        parts.append(Part(curve([(0.38, 0.41), (0.48, 0.46), (0.43, 0.62), (0.34, 0.56)]), "dark"))
    else:
        parts += [line(lace, 0.025, "light") for lace in laces]
    return parts


def dress(silhouette: int, j: Jitter) -> list[Part]:
    """Sleeveless and flared; long with sleeves; straps and two flounces."""
    waist = 0.14 + 0.01 * j[0]
    flare = (0.36, 0.27, 0.33)[silhouette] + 0.015 * j[1]
    hem = (0.93, 0.97, 0.9)[silhouette]
    if silhouette == 1:
        left = [
            (0.41, 0.04),
            (0.3, 0.07),
            (0.16, 0.42),
            (0.23, 0.45),
            (0.33, 0.26),
            (0.5 - waist, 0.4),
            (0.5 - flare, hem),
        ]
    elif silhouette == 0:
        left = [
            (0.4, 0.04),
            (0.33, 0.04),
            (0.34, 0.16),
            (0.3, 0.24),
            (0.5 - waist, 0.42),
            (0.5 - flare * 0.7, 0.66),
            (0.5 - flare, hem),
        ]
    else:
        left = [
            (0.38, 0.14),
            (0.31, 0.17),
            (0.32, 0.28),
            (0.5 - waist, 0.4),
            (0.5 - flare, 0.66),
            (0.5 - flare + 0.05, 0.66),
            (0.5 - flare - 0.06, hem),
        ]
    body = (*left, *mirror(list(reversed(left))))
    ends = [(left[-1][0], hem - 0.012), (1 - left[-1][0], hem - 0.012)]
    parts = [
        Part(body, "pattern", "soft"),
        Part(box(0.5 - waist - 0.005, 0.385, 0.5 + waist + 0.005, 0.43), "accent"),
        line(ends, 0.03, "accent", edge=False),
    ]
    for k in (-0.5, 0.1, 0.6):
        parts.append(
            line(
                [(0.5 + k * waist, 0.44), (0.5 + k * flare, hem - 0.04)], 0.006, "dark", edge=False
            )
        )
    if silhouette == 2:
        parts += [line([(x, 0.02), (x, 0.18)], 0.022, "accent") for x in (0.37, 0.63)]
        parts.append(line([(0.5 - flare, 0.66), (0.5 + flare, 0.66)], 0.025, "accent", edge=False))
    else:
        neck = ellipse(0.5, 0.04, 0.1, 0.07, 0, 180)
        parts += [Part(neck, "dark"), line(neck, 0.022, "accent", edge=False)]
    return parts
