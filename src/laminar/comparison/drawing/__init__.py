"""Pictures of a comparison as SVG inside a page: plain numbers in, text out.

`forest` (differences with their intervals), `strips` (every run, joined by seed), `curves` (learning curves with bands),
`scatter` (metric against cost). `svg` makes the elements, `scales` places numbers and chooses ticks.

Widths are shares of the page and heights are pixels, so that a picture fills a phone as well as a screen while its text keeps
the size of the page's own. Colours are the page's CSS variables, by class: a picture follows the dark scheme and the printer.
"""
