"""Encord's shapes in pixels: boxes, outlines, masks and key points. Pure functions.

Coordinates are served relative to the image's width and height (0 to 1), angles in degrees, clockwise on the screen,
around the shape's centre. Source: encord.objects.coordinates and encord.common.bitmask_operations of the SDK 0.1.211.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, width, height

CURVE_CORNERS = 64
MOST_PIXELS = 1 << 28  # of a mask: one byte each while it is transposed


class GeometryError(ValueError):
    """A geometry does not have the form that its shape has."""


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask as COCO's run-length encoding: column by column, `counts` compressed as pycocotools does."""

    width: int
    height: int
    counts: str
    area: int
    box: Box


@dataclass(frozen=True, slots=True)
class Figure:
    """A shape in pixels. `outline` has one ring for each part, `keypoints` x, y and COCO's visibility."""

    box: Box
    area: float
    outline: tuple[tuple[Point, ...], ...] = ()
    mask: Mask | None = None
    keypoints: tuple[tuple[float, float, int], ...] = ()
    angle: float | None = None
    has_holes: bool = False


def figure(shape: str | None, geometry: Any, width: int, height: int) -> Figure | None:
    """Return a shape in pixels, or None if it has no area or points in an image; raises GeometryError."""
    read = _SHAPES.get(shape or "")
    if read is None:
        return None
    try:
        return read(geometry, width, height)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise GeometryError(f"not the geometry of a {shape}") from error


def skeleton_names(geometry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a skeleton's points in their order."""
    return tuple(str(point.get("name", index)) for index, point in geometry.items())


def _box(geometry: Any, width: int, height: int) -> Figure:
    left, top, wide, high = (float(geometry[name]) for name in ("x", "y", "w", "h"))
    box = (left * width, top * height, wide * width, high * height)
    return Figure(box, box[2] * box[3], (_corners(box),))


def _rotated_box(geometry: Any, width: int, height: int) -> Figure:
    plain = _box(geometry, width, height)
    angle = float(geometry["theta"])
    left, top, wide, high = plain.box
    ring = tuple(_turned(plain.outline[0], (left + wide / 2, top + high / 2), angle))
    return Figure(_around(ring), plain.area, (ring,), angle=angle)


def _circle(geometry: Any, width: int, height: int) -> Figure:
    radius = float(geometry["r"]) * width
    second = radius * float(geometry.get("stretch", 1.0))
    return _curve(geometry, radius, second, width, height)


def _ellipse(geometry: Any, width: int, height: int) -> Figure:
    return _curve(geometry, float(geometry["rx"]) * width, float(geometry["ry"]) * height, width, height)


def _curve(geometry: Any, first: float, second: float, width: int, height: int) -> Figure:
    middle = (float(geometry["x"]) * width, float(geometry["y"]) * height)
    steps = [2 * math.pi * index / CURVE_CORNERS for index in range(CURVE_CORNERS)]
    ring = [(middle[0] + first * math.cos(step), middle[1] + second * math.sin(step)) for step in steps]
    turned = tuple(_turned(ring, middle, float(geometry.get("theta", 0.0))))
    return Figure(_around(turned), math.pi * first * second, (turned,))


def _polygon(geometry: Any, width: int, height: int) -> Figure:
    parts = _rings(geometry, width, height)
    outline = tuple(part[0] for part in parts)
    if not outline or any(len(ring) < 3 for ring in outline):  # noqa: PLR2004 - a polygon has three corners
        raise GeometryError("a polygon has three corners or more")
    box = _around([point for ring in outline for point in ring])
    if any(len(part) > 1 for part in parts):
        mask = _filled(parts, width, height)
        return Figure(box, float(mask.area), outline, mask=mask, has_holes=True)
    return Figure(box, sum(_area(ring) for ring in outline), outline)


def _rings(geometry: Any, width: int, height: int) -> list[list[tuple[Point, ...]]]:
    """Return the parts of a polygon, each an outer ring and its holes.

    Encord serves up to three forms: points by index, a list of points, and (`polygons`) parts of rings of numbers.
    """
    if isinstance(geometry, Mapping) and ("polygons" in geometry or "polygon" in geometry):
        geometry = geometry.get("polygons") or geometry["polygon"]
    if isinstance(geometry, Mapping):
        return [[_points(geometry.values(), width, height)]]
    if geometry and isinstance(geometry[0], Mapping):
        return [[_points(geometry, width, height)]]
    return [
        [
            tuple((x * width, y * height) for x, y in zip(ring[::2], ring[1::2], strict=True))
            for ring in part
            if len(ring) > 0
        ]
        for part in geometry
    ]


def _points(points: Iterable[Mapping[str, Any]], width: int, height: int) -> tuple[Point, ...]:
    return tuple((float(point["x"]) * width, float(point["y"]) * height) for point in points)


def _point(geometry: Any, width: int, height: int) -> Figure | None:
    (point,) = geometry.values() if isinstance(geometry, Mapping) and "x" not in geometry else (geometry,)
    if "z" in point:  # in a point cloud
        return None
    x, y = float(point["x"]) * width, float(point["y"]) * height
    return Figure((x, y, 0.0, 0.0), 0.0, keypoints=((x, y, 2),))


def _skeleton(geometry: Any, width: int, height: int) -> Figure:
    keypoints = tuple(
        (float(point["x"]) * width, float(point["y"]) * height, _visibility(point)) for point in geometry.values()
    )
    seen = [(x, y) for x, y, visibility in keypoints if visibility] or [(x, y) for x, y, _ in keypoints]
    box = _around(seen)
    return Figure(box, box[2] * box[3], keypoints=keypoints)


def _visibility(point: Mapping[str, Any]) -> int:
    """Return COCO's number: 0 not labelled, 1 labelled and not visible, 2 visible, as in Encord's own exporter."""
    state = str(point.get("visibility") or "").lower().replace("_", "")
    if point.get("invisible") is True or state == "invisible":
        return 0
    hidden = point.get("occluded") is True or point.get("selfOccluded") is True
    return 1 if hidden or state in ("occluded", "selfoccluded") else 2


def _bitmask(geometry: Any, width: int, height: int) -> Figure:
    """Transpose a mask: Encord's runs go row by row, COCO's column by column."""
    high, wide = int(geometry["height"]), int(geometry["width"])
    top, left = int(geometry.get("top", 0)), int(geometry.get("left", 0))
    if min(high, wide, top, left, height - top - high, width - left - wide) < 0 or width * height > MOST_PIXELS:
        raise GeometryError("the mask does not fit into the image")
    text = geometry["rleString"] if "rleString" in geometry else geometry["rle_string"]
    pixels = bytearray(wide * high)
    at, value = 0, 0
    for count in _counts(text):
        if count < 0 or at + count > len(pixels):
            raise GeometryError("the mask has more pixels than its size")
        if value:
            pixels[at : at + count] = b"\1" * count
        at, value = at + count, 1 - value
    if (top, left, high, wide) != (0, 0, height, width):
        whole = bytearray(width * height)
        for row in range(high):
            begin = (top + row) * width + left
            whole[begin : begin + wide] = pixels[row * wide : (row + 1) * wide]
        pixels = whole
    mask = _mask(b"".join(pixels[column::width] for column in range(width)), width, height)
    return Figure(mask.box, float(mask.area), mask=mask)


def _counts(text: str) -> list[int]:
    """Return the runs of a compressed text: five bits in each character, numbers after the third as differences."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:  # noqa: PLR2004 - six bits
            raise GeometryError("the mask's text has an unknown character")
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)  # noqa: PLR2004 - as the encoding has it
        value = shift = 0
    return counts


def _text(counts: Sequence[int]) -> str:
    """Return runs as compressed text: the inverse of `_counts`."""
    characters = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count  # noqa: PLR2004 - as the encoding has it
        more = True
        while more:
            code = value & 0x1F
            value >>= 5
            more = value != -1 if code & 0x10 else value != 0
            characters.append(chr((code | 0x20 if more else code) + 48))
    return "".join(characters)


def _mask(columns: bytes, width: int, height: int) -> Mask:
    """Return the mask of pixels in column order, with a byte of 0 or 1 for each."""
    counts: list[int] = []
    at, value, area = 0, 0, 0
    left, right, top, bottom = width, -1, height, -1
    while at < len(columns):
        end = columns.find(b"\0" if value else b"\1", at)
        end = len(columns) if end < 0 else end
        counts.append(end - at)
        if value:
            area += end - at
            first, last = at // height, (end - 1) // height
            left, right = min(left, first), max(right, last)
            top = min(top, at % height if first == last else 0)
            bottom = max(bottom, (end - 1) % height if first == last else height - 1)
        at, value = end, 1 - value
    box = (float(left), float(top), float(right - left + 1), float(bottom - top + 1)) if area else (0.0, 0.0, 0.0, 0.0)
    return Mask(width, height, _text(counts), area, box)


def _filled(parts: Sequence[Sequence[Sequence[Point]]], width: int, height: int) -> Mask:
    """Return the mask of pixels whose centres are inside a part, which means inside an odd number of its rings."""
    if width * height > MOST_PIXELS:
        raise GeometryError("the image is too large for a mask")
    columns = bytearray(width * height)
    for part in parts:
        edges = [(ring[index - 1], point) for ring in part for index, point in enumerate(ring)]
        for column in range(width):
            x, begin = column + 0.5, column * height
            cuts = [y0 + (x - x0) * (y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in edges if (x0 <= x) != (x1 <= x)]
            cuts.sort()
            for upper, lower in zip(cuts[::2], cuts[1::2], strict=True):
                first, last = max(0, math.ceil(upper - 0.5)), min(height, math.ceil(lower - 0.5))
                if first < last:
                    columns[begin + first : begin + last] = b"\1" * (last - first)
    return _mask(bytes(columns), width, height)


def _corners(box: Box) -> tuple[Point, ...]:
    left, top, wide, high = box
    return ((left, top), (left + wide, top), (left + wide, top + high), (left, top + high))


def _turned(ring: Iterable[Point], middle: Point, degrees: float) -> Iterable[Point]:
    """Yield points rotated clockwise on the screen, where y grows downwards."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    for x, y in ring:
        dx, dy = x - middle[0], y - middle[1]
        yield middle[0] + dx * cosine - dy * sine, middle[1] + dx * sine + dy * cosine


def _around(points: Sequence[Point]) -> Box:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _area(ring: Sequence[Point]) -> float:
    twice = sum(ring[i - 1][0] * point[1] - point[0] * ring[i - 1][1] for i, point in enumerate(ring))
    return abs(twice) / 2


_SHAPES = {
    "bounding_box": _box,
    "rotatable_bounding_box": _rotated_box,
    "circle": _circle,
    "ellipse": _ellipse,
    "polygon": _polygon,
    "point": _point,
    "skeleton": _skeleton,
    "bitmask": _bitmask,
}
