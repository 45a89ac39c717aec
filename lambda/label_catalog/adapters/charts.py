"""Draws Vega-Lite specifications as SVG with vl-convert: without a browser, a script or a network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any

VEGA_LITE = "6.4"  # a version inside the pinned vl-convert; none is ever downloaded

_ROOT = re.compile(r"<svg [^>]*?(?=\swidth=)")
_TAG = re.compile(r"<[^>]*>")
_SPOKEN = re.compile(r' (?:role|aria-[a-z]+)="[^"]*"')
_NAMES = re.compile(r'(\bid="|url\(#|href="#)')


def draw(spec: Mapping[str, Any], name: str, description: str) -> str:
    """Return a chart as one SVG element. `name` makes its ids unique; `description` is for screen readers."""
    # Imported here: it maps 85 MB into memory, which only a report needs.
    import vl_convert  # noqa: PLC0415

    svg: str = vl_convert.vegalite_to_svg(
        json.dumps(spec), vl_version=VEGA_LITE, allowed_base_urls=[], format_locale="en-US"
    )
    # The chart is one image with one description: screen readers skip its parts.
    svg = _TAG.sub(lambda tag: _NAMES.sub(rf"\g<1>{name}-", _SPOKEN.sub("", tag[0])), svg)
    return _ROOT.sub(f'<svg role="img" aria-label="{escape(description)}"', svg, count=1)
