"""Outlines of the groups Fashion and Kids: ``(silhouette 0..2, jitter) -> parts``."""

from __future__ import annotations

from tgqformer.storefront.geometry import Jitter, Outline, Part, box, curve, ellipse, line, mirror


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


def teddy_bear(silhouette: int, j: Jitter) -> list[Part]:
    """Sitting; standing; with a large head and a bow."""
    head = (0.2, 0.18, 0.26)[silhouette] + 0.01 * j[0]
    hy = 0.26 if silhouette != 2 else 0.32
    belly = 0.25 + 0.01 * j[1]
    by = 0.66 if silhouette != 2 else 0.74
    limbs = {
        0: [
            ((0.2, 0.58), 0.11, 0.15),
            ((0.8, 0.58), 0.11, 0.15),
            ((0.24, 0.86), 0.16, 0.11),
            ((0.76, 0.86), 0.16, 0.11),
        ],
        1: [
            ((0.22, 0.48), 0.09, 0.16),
            ((0.78, 0.48), 0.09, 0.16),
            ((0.36, 0.88), 0.11, 0.11),
            ((0.64, 0.88), 0.11, 0.11),
        ],
        2: [
            ((0.23, 0.68), 0.09, 0.12),
            ((0.77, 0.68), 0.09, 0.12),
            ((0.3, 0.9), 0.12, 0.08),
            ((0.7, 0.9), 0.12, 0.08),
        ],
    }[silhouette]
    parts = [
        Part(ellipse(0.5 + s * head * 0.8, hy - head * 0.75, 0.08, 0.08), "base", "ball")
        for s in (-1, 1)
    ]
    parts += [
        Part(ellipse(0.5 + s * head * 0.8, hy - head * 0.75, 0.045, 0.045), "accent")
        for s in (-1, 1)
    ]
    parts += [Part(ellipse(x, y, rx, ry), "pattern", "ball", turn=15) for (x, y), rx, ry in limbs]
    parts += [
        Part(ellipse(limbs[i][0][0], limbs[i][0][1] + 0.01, 0.055, 0.05), "accent", edge=False)
        for i in (2, 3)
    ]
    parts += [
        Part(ellipse(0.5, by, belly, 0.25 if silhouette != 2 else 0.2), "pattern", "ball"),
        Part(ellipse(0.5, hy, head, head * 0.95), "pattern", "ball", turn=-10),
        Part(ellipse(0.5, hy + head * 0.35, head * 0.48, head * 0.38), "light", "ball"),
        Part(ellipse(0.5, hy + head * 0.2, 0.035, 0.025), "dark"),
        *[
            Part(ellipse(0.5 + s * head * 0.42, hy - head * 0.15, 0.022, 0.026), "dark")
            for s in (-1, 1)
        ],
    ]
    if silhouette == 2:
        y = hy + head * 0.95
        parts += [
            Part(((0.5, y), (0.5 + s * 0.13, y - 0.06), (0.5 + s * 0.13, y + 0.06)), "accent")
            for s in (-1, 1)
        ]
    return parts


def toy_car(silhouette: int, j: Jitter) -> list[Part]:
    """Saloon; van; lorry."""
    roof = (0.3, 0.22, 0.3)[silhouette] + 0.015 * j[0]
    windows: list[Outline]
    if silhouette == 0:
        body = curve(
            [
                (0.03, 0.68),
                (0.04, 0.52),
                (0.2, 0.46),
                (0.32, roof),
                (0.62, roof),
                (0.76, 0.46),
                (0.95, 0.52),
                (0.97, 0.68),
                (0.9, 0.72),
                (0.1, 0.72),
            ]
        )
        windows = [
            ((0.28, 0.46), (0.35, roof + 0.05), (0.47, roof + 0.05), (0.47, 0.46)),
            ((0.51, 0.46), (0.51, roof + 0.05), (0.61, roof + 0.05), (0.69, 0.46)),
        ]
        bodies = [Part(body, "pattern", "soft")]
    elif silhouette == 1:
        bodies = [
            Part(
                curve(
                    [
                        (0.03, 0.7),
                        (0.04, roof + 0.05),
                        (0.1, roof),
                        (0.7, roof),
                        (0.82, 0.42),
                        (0.95, 0.5),
                        (0.97, 0.7),
                        (0.5, 0.73),
                    ]
                ),
                "pattern",
                "soft",
            )
        ]
        windows = [
            box(0.1, roof + 0.06, 0.26, 0.42, 0.02),
            box(0.3, roof + 0.06, 0.46, 0.42, 0.02),
            ((0.6, roof + 0.06), (0.69, roof + 0.06), (0.77, 0.42), (0.6, 0.42)),
        ]
    else:
        bodies = [
            Part(box(0.02, 0.22, 0.62, 0.68, 0.02), "pattern", "soft"),
            Part(box(0.65, 0.36, 0.97, 0.7, 0.05), "base", "soft"),
            Part(box(0.05, 0.66, 0.95, 0.72), "dark"),
        ]
        windows = [box(0.76, 0.41, 0.92, 0.53, 0.02)]
    parts = [*bodies, *[Part(w, "light", "soft") for w in windows]]
    parts.append(line([(0.05, 0.67), (0.95, 0.67)], 0.035, "accent", edge=False))
    parts.append(Part(ellipse(0.95, 0.58, 0.025, 0.035), "light"))
    for x in (0.24, 0.76):
        parts += [
            Part(ellipse(x, 0.72, 0.115, 0.115), "dark", "ball"),
            Part(ellipse(x, 0.72, 0.06, 0.06), "metal", "ball"),
        ]
    return parts


def kite(silhouette: int, j: Jitter) -> list[Part]:
    """A diamond; a delta; a hexagon; each with a tail of bows."""
    w = 0.36 + 0.02 * j[0]
    sail: Outline
    if silhouette == 0:
        sail, low = ((0.5, 0.03), (0.5 + w, 0.3), (0.5, 0.72), (0.5 - w, 0.3)), 0.72
    elif silhouette == 1:
        sail = ((0.5, 0.05), (0.97, 0.52), (0.62, 0.56), (0.5, 0.66), (0.38, 0.56), (0.03, 0.52))
        low = 0.66
    else:
        sail = (
            (0.3, 0.05),
            (0.7, 0.05),
            (0.5 + w, 0.32),
            (0.7, 0.62),
            (0.3, 0.62),
            (0.5 - w, 0.32),
        )
        low = 0.62
    bend = 0.08 + 0.03 * j[1]
    tail = curve(
        [(0.5, low), (0.5 + bend, low + 0.1), (0.5 - bend, low + 0.2), (0.53, 0.97)], closed=False
    )
    bows = []
    for i in (5, 10, 15):
        x, y = tail[min(i, len(tail) - 1)]
        bows.append(
            Part(
                (
                    (x - 0.05, y - 0.03),
                    (x + 0.05, y + 0.03),
                    (x + 0.05, y - 0.03),
                    (x - 0.05, y + 0.03),
                ),
                "accent",
            )
        )
    middle = sail[1][1] if silhouette == 0 else 0.32
    spars = [line([(0.5, sail[0][1]), (0.5, low)], 0.016, "dark", edge=False)]
    if silhouette != 1:
        spars.append(line([(0.5 - w, middle), (0.5 + w, middle)], 0.016, "dark", edge=False))
    return [
        line(tail, 0.012, "dark", edge=False),
        *bows,
        Part(sail, "pattern", "soft"),
        *spars,
        line((*sail, sail[0]), 0.022, "accent", edge=False),
    ]


def toy_boat(silhouette: int, j: Jitter) -> list[Part]:
    """Two sails; one square sail; a steamer."""
    deck = 0.72 + 0.01 * j[0]
    hull = curve(
        [
            (0.06, deck),
            (0.5, deck + 0.02),
            (0.95, deck - 0.01),
            (0.8, 0.92),
            (0.5, 0.94),
            (0.2, 0.92),
        ]
    )
    flag = Part(((0.5, 0.02), (0.62, 0.05), (0.5, 0.09)), "accent")
    mast = line([(0.5, 0.02), (0.5, deck)], 0.022, "wood")
    if silhouette == 0:
        rig = [
            mast,
            flag,
            Part(((0.53, 0.1), (0.93, 0.66 + 0.01 * j[1]), (0.53, 0.66)), "pattern", "round"),
            Part(((0.47, 0.16), (0.47, 0.66), (0.12, 0.66)), "pattern", "soft", turn=15),
        ]
    elif silhouette == 1:
        rig = [
            mast,
            flag,
            Part(
                curve(
                    [
                        (0.16, 0.13),
                        (0.5, 0.11),
                        (0.84, 0.13),
                        (0.9, 0.38),
                        (0.84, 0.64),
                        (0.5, 0.6),
                        (0.16, 0.64),
                        (0.2, 0.38),
                    ]
                ),
                "pattern",
                "round",
            ),
            line([(0.14, 0.12), (0.86, 0.12)], 0.025, "wood"),
        ]
    else:
        rig = [
            Part(box(0.2, 0.44, 0.78, 0.74, 0.03), "pattern", "soft"),
            *[Part(ellipse(x, 0.53, 0.035, 0.035), "light") for x in (0.32, 0.49, 0.66)],
            *[Part(box(x, 0.12, x + 0.13, 0.46), "pattern", "round", turn=5) for x in (0.3, 0.54)],
            *[Part(box(x, 0.12, x + 0.13, 0.19), "accent", "round") for x in (0.3, 0.54)],
        ]
    hull_fill = "base" if silhouette != 2 else "pattern"
    return [
        *rig,
        Part(hull, hull_fill, "soft"),
        line(
            [(0.09, deck + 0.04), (0.5, deck + 0.06), (0.91, deck + 0.035)],
            0.03,
            "accent",
            edge=False,
        ),
    ]
