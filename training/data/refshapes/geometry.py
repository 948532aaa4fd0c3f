"""RefShapes, the six outlines: offsets from a centre enter, inside or not leaves. Any unit, no anti-aliasing."""

from __future__ import annotations

import math

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")


def inside_shape(shape: str, radius: float, angle: float, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Whether points lie in a shape.

    Args:
        shape: one of `SHAPES`.
        radius: of the circle and the ring; the other shapes have corners up to 1.22 radii out.
        angle: rotation in radians, clockwise on the screen.
        dx: `(1, w)` offsets from the centre to the right.
        dy: `(h, 1)` offsets from the centre downwards.

    Returns:
        bool `(h, w)`.
    """
    if shape in ("circle", "ring"):
        square_distance = dx * dx + dy * dy
        inside = square_distance <= radius * radius
        return inside & (square_distance >= (0.55 * radius) ** 2) if shape == "ring" else inside
    cosine, sine = math.cos(angle), math.sin(angle)
    u, v = cosine * dx + sine * dy, cosine * dy - sine * dx
    if shape == "square":
        return (np.abs(u) <= 0.86 * radius) & (np.abs(v) <= 0.86 * radius)
    if shape == "cross":
        u, v = np.abs(u), np.abs(v)
        return (np.maximum(u, v) <= radius) & (np.minimum(u, v) <= 0.34 * radius)
    if shape == "triangle":
        inradius, slope = 0.55 * radius, 0.5 * math.sqrt(3)
        return (v <= inradius) & (slope * np.abs(u) - 0.5 * v <= inradius)
    return _inside_star(u, v, 1.12 * radius, 0.48 * radius)


def _inside_star(u: np.ndarray, v: np.ndarray, outer: float, inner: float) -> np.ndarray:
    """Five-pointed star with one tip up: fold the plane onto one half of a tip, then test a single edge."""
    half_tip = math.pi / 5
    folded = np.abs(np.mod(np.arctan2(u, -v) + half_tip, 2 * half_tip) - half_tip)
    distance = np.sqrt(u * u + v * v)
    corner_x, corner_y = inner * math.cos(half_tip), inner * math.sin(half_tip)
    return corner_y * (outer - distance * np.cos(folded)) >= (outer - corner_x) * distance * np.sin(folded)


__all__ = ["SHAPES", "inside_shape"]
