"""Outlines of the groups Home, Kitchen and Outdoor: ``(silhouette 0..2, jitter) -> parts``."""

from __future__ import annotations

from tgqformer.storefront.geometry import (
    Jitter,
    Outline,
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


def tent(silhouette: int, j: Jitter) -> list[Part]:
    """A ridge tent; a dome; a tipi."""
    open_ = 0.11 + 0.02 * j[0]
    door: Outline
    if silhouette == 0:
        front = ((0.36, 0.2), (0.68, 0.86), (0.03, 0.86))
        side = ((0.36, 0.2), (0.78, 0.16), (0.98, 0.78), (0.68, 0.86))
        door = ((0.36, 0.36), (0.36 + open_ + 0.03, 0.86), (0.36 - open_, 0.86))
        guys = [line([(0.36, 0.2), (0.02, 0.93)], 0.01, "dark", edge=False)]
        skins = [Part(side, "pattern", "soft", turn=-14), Part(front, "pattern", "soft", turn=8)]
        seams = [
            line([(0.36, 0.2), (0.78, 0.16)], 0.025, "accent"),
            line([(0.03, 0.86), (0.68, 0.86), (0.98, 0.78)], 0.025, "accent", edge=False),
        ]
    elif silhouette == 1:
        dome = ellipse(0.5, 0.86, 0.47, 0.62 + 0.03 * j[1], 180, 360)
        door = ellipse(0.46, 0.86, open_ + 0.06, 0.36, 180, 360)
        guys = []
        skins = [Part(dome, "pattern", "ball")]
        seams = [
            line(ellipse(0.5, 0.86, 0.27, 0.62, 180, 360), 0.02, "accent", edge=False),
            line([(0.03, 0.85), (0.97, 0.85)], 0.025, "accent", edge=False),
        ]
    else:
        guys = [
            line([(0.5 + s * 0.03, 0.16), (0.5 - s * 0.08, 0.0)], 0.02, "wood") for s in (-1, 1)
        ]
        cone = ((0.47, 0.08), (0.53, 0.08), (0.86, 0.92), (0.5, 0.96), (0.14, 0.92))
        door = ((0.5, 0.42), (0.5 + open_, 0.95), (0.5 - open_, 0.95))
        skins = [Part(cone, "pattern", "round")]
        seams = [line([(0.14, 0.92), (0.5, 0.96), (0.86, 0.92)], 0.025, "accent", edge=False)]
    return [
        *guys,
        *skins,
        *seams,
        Part(door, "dark"),
        line((door[0], door[-1]) if silhouette != 1 else door, 0.022, "accent", edge=False),
    ]


def umbrella(silhouette: int, j: Jitter) -> list[Part]:
    """A half circle; flat and wide with a straight pole; deep as a bell."""
    ry = (0.42, 0.26, 0.55)[silhouette] + 0.02 * j[0]
    rx = (0.46, 0.48, 0.36)[silhouette]
    y = (0.5, 0.34, 0.62)[silhouette]
    ribs = 4 if silhouette != 1 else 6
    points: list[Point] = list(ellipse(0.5, y, rx, ry, 180, 360))
    for i in range(ribs):
        x = 0.5 + rx - (i + 0.5) * 2 * rx / ribs
        points += ellipse(x, y, rx / ribs, 0.045, 0, -180)
    pole_end = 0.86 if silhouette != 1 else 0.98
    pole = [line([(0.5, y - ry - 0.04), (0.5, pole_end)], 0.022, "metal")]
    if silhouette == 1:
        pole.append(Part(box(0.36, 0.94, 0.64, 0.99, 0.02), "dark"))
    else:
        pole.append(line(ellipse(0.44, pole_end, 0.06, 0.09, 0, 180), 0.035, "wood"))
    seams = []
    for i in range(1, ribs):
        x = 0.5 - rx + i * 2 * rx / ribs
        top = (0.5 + (x - 0.5) * 0.05, y - ry)
        middle = (0.5 + (x - 0.5) * 0.72, y - ry * 0.62)
        seams.append(line(curve([top, middle, (x, y)], closed=False), 0.008, "dark", edge=False))
    rim = points[len(ellipse(0.5, y, rx, ry, 180, 360)) :]
    return [
        *pole,
        Part(tuple(points), "pattern", "ball"),
        *seams,
        line(rim, 0.025, "accent", edge=False),
        Part(ellipse(0.5, y - ry, 0.03, 0.025), "accent"),
    ]


def watering_can(silhouette: int, j: Jitter) -> list[Part]:
    """A cylinder; a cone; a ball."""
    profile = [
        [(0.4, 0.23), (0.9, 0.23 + 0.01 * j[0])],
        [(0.36, 0.15), (0.9, 0.28 + 0.01 * j[0])],
        [(0.4, 0.15), (0.5, 0.25), (0.68, 0.29 + 0.01 * j[0]), (0.84, 0.23), (0.9, 0.17)],
    ][silhouette]
    cx, top, half = 0.58, profile[0][0], profile[0][1]
    rose_y = 0.3 + 0.02 * j[1]
    spout = ((0.4, 0.84), (0.13, rose_y + 0.02), (0.17, rose_y - 0.02), (0.44, 0.68))
    rose = (
        (0.03, rose_y + 0.07),
        (0.2, rose_y - 0.08),
        (0.18, rose_y + 0.06),
        (0.14, rose_y + 0.08),
    )
    over = ellipse(cx, top, half * 0.85, 0.24, 180, 360)
    back = curve(
        [(cx + half - 0.02, top + 0.08), (0.96, top + 0.1), (0.95, 0.66), (cx + half - 0.01, 0.78)],
        closed=False,
    )
    handles = [line(back, 0.04, "base")]
    if silhouette != 1:
        handles.append(line(over, 0.04, "base"))
    return [
        *handles,
        Part(spout, "base", "round"),
        Part(rose, "accent"),
        Part(lathe(profile, cx, smooth=silhouette == 2), "pattern", "round"),
        Part(band(profile, 0.85, 0.9, cx), "accent", "round"),
        Part(ellipse(cx, top, half, 0.035), "dark"),
        line((*ellipse(cx, top, half, 0.035), (cx + half, top)), 0.02, "accent", edge=False),
    ]


def surfboard(silhouette: int, j: Jitter) -> list[Part]:
    """Long and round; short and pointed; with a swallow tail."""
    w = (0.2, 0.21, 0.23)[silhouette] + 0.01 * j[0]
    if silhouette == 0:
        half = [(0.02, 0.02), (0.08, 0.12), (0.35, w), (0.7, w), (0.93, 0.13), (0.98, 0.02)]
        board = lathe(half)
    elif silhouette == 1:
        half = [(0.02, 0.0), (0.15, 0.1), (0.45, w), (0.75, w * 0.9), (0.94, 0.12), (0.97, 0.1)]
        board = lathe(half)
    else:
        half = [(0.02, 0.01), (0.12, 0.12), (0.4, w), (0.75, w * 0.9), (0.97, 0.13)]
        right = curve([(0.5 + h, y) for y, h in half], closed=False)
        left = tuple((1 - x, y) for x, y in reversed(right))
        board = (*right, (0.5, 0.88), *left)
    return [
        Part(((0.5 + w * 0.6, 0.82), (0.5 + w + 0.07, 0.97), (0.5 + w * 0.4, 0.94)), "dark"),
        Part(board, "pattern", "round"),
        line((*board, board[0]), 0.022, "accent", edge=False),
        line([(0.5, 0.06), (0.5, 0.88)], 0.012, "accent", edge=False),
    ]
