"""Elements of SVG, and text that fits."""

from __future__ import annotations

import textwrap
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

__all__ = ["add", "fitted", "picture", "serialized", "share"]


def picture(id: str, height: float, *, title: str, describe: str) -> Element:
    """Return an empty picture as wide as the page.

    Args:
        id: unique on the page.
        height: in pixels.
        title: what a screen reader calls it.
        describe: what it shows, in sentences.
    """
    element = Element("svg", {"id": id, "role": "img", "width": "100%", "height": f"{height:g}"})
    element.set("aria-labelledby", f"{id}-title")
    element.set("aria-describedby", f"{id}-desc")
    add(element, "title", title, id=f"{id}-title")
    add(element, "desc", describe, id=f"{id}-desc")
    return element


def add(parent: Element, tag: str, text: str | None = None, /, **attributes: str | float) -> Element:
    """Append an element; `class_` and underscores in names of attributes become what SVG writes.

    >>> circle = add(picture("p", 10, title="t", describe="d"), "circle", cx=share(50), cy=3, class_="run")
    >>> serialized(circle)
    '<circle cx="50%" cy="3" class="run" />'
    """
    plain = {k.rstrip("_").replace("_", "-"): v if isinstance(v, str) else f"{v:.6g}" for k, v in attributes.items()}
    element = SubElement(parent, tag, plain)
    element.text = text
    return element


def share(percent: float) -> str:
    """Return a share of the picture's width.

    >>> share(33.33333)
    '33.33%'
    """
    return f"{percent:.4g}%"


def serialized(element: Element) -> str:
    """Return the element as text in which whatever was a name or a number cannot be markup."""
    return ElementTree.tostring(element, encoding="unicode")


def fitted(text: str, width: int, lines: int = 1) -> list[str]:
    """Return `text` in at most `lines` lines of `width` characters.

    What is too long loses its middle, because names of variants often differ at their ends.

    >>> fitted("without batch normalization, alpha fixed", 16, lines=2)
    ['without batch…n,', 'alpha fixed']
    """
    joined = " ".join(text.split())
    wrapped = textwrap.wrap(joined, width)
    half = width * lines // 2
    while len(wrapped) > lines:
        wrapped = textwrap.wrap(f"{joined[:half].rstrip()}…{joined[-half:].lstrip()}", width)
        half -= 1
    return wrapped or [""]
