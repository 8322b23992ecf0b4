"""For the build of the site: examples in docstrings are shown as code.

Our docstrings end in a bare `>>>` example, which doctest runs. Markdown would read it as a quotation within a quotation, so
each such block is fenced before it is rendered.
"""

from __future__ import annotations

from typing import Any

import griffe


def fenced(text: str) -> str:
    """Return `text` with a code fence around every block from a `>>>` in the first column to the next blank line."""
    lines: list[str] = []
    inside = False
    for line in text.split("\n"):
        if not inside and line.startswith(">>> "):
            lines.append("```pycon")
            inside = True
        elif inside and not line.strip():
            lines.append("```")
            inside = False
        lines.append(line)
    return "\n".join([*lines, "```"] if inside else lines)


class DoctestFences(griffe.Extension):
    """Rewrites every docstring of the package once, when it has been read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Fence the examples of one object."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
