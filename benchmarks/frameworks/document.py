"""The part of a page of the docs that the command writes: what stands between two markers."""

from __future__ import annotations

__all__ = ["BEGIN", "END", "rewritten"]

BEGIN = "<!-- frameworks: what stands from here to the next marker is written by `make bench` -->"
END = "<!-- frameworks: end -->"


def rewritten(page: str, text: str) -> str:
    """Return the page with `text` between the markers.

    Raises:
        ValueError: if the page does not have both markers once, in this order.

    >>> rewritten(f"a\\n{BEGIN}\\nold\\n{END}\\nb", "new") == f"a\\n{BEGIN}\\n\\nnew\\n\\n{END}\\nb"
    True
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"expected the markers {BEGIN!r} and {END!r} once each, in this order, in the page")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
