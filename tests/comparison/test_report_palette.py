"""Laws of the page's colours: apart for every kind of eye, dark enough to be read."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations

import numpy as np

# Machado, Oliveira & Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency", TVCG 2009, severity 1; linear RGB.
EYES = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def palette() -> dict[str, np.ndarray]:
    """Name -> linear RGB."""
    css = (files("tgqformer.comparison") / "templates" / "comparison.css").read_text()
    found = {}
    for name, code in re.findall(r"--(series-\d): #([0-9a-f]{6});", css):
        share = np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255
        found[name] = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return found


def lab(colour: np.ndarray) -> np.ndarray:
    share = XYZ @ np.clip(colour, 0, 1) / XYZ.sum(axis=1)
    f = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_six_colours_are_apart_for_every_eye():
    colours = palette()
    assert len(colours) == 6
    for eye, matrix in EYES.items():
        seen = {name: lab(np.asarray(matrix) @ colour) for name, colour in colours.items()}
        for a, b in combinations(seen, 2):
            assert np.linalg.norm(seen[a] - seen[b]) > 15, (eye, a, b)


def test_a_name_in_its_colour_can_be_read_on_white():
    for name, colour in palette().items():
        assert 1.05 / (XYZ[1] @ colour + 0.05) >= 4.5, name
