"""Outlines of the group Outdoor: tent, umbrella, watering can, surfboard."""

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
)

__all__ = ["surfboard", "tent", "umbrella", "watering_can"]


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
