"""Synthetic digits: 28x28 grey images of 0-9 in many fonts under random affine transforms, drawn here in seconds.

A part (train, test) is a table of uniform numbers, ten images a block; every property of an image is a function of its own
row. A block holds each digit once, in random order. So the classes are balanced, the order is shuffled, and a smaller part is
the beginning of a larger one.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import operator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from laminar.data.cache import cached_arrays
from laminar.errors import ArgumentError, FileError, complaint
from laminar.seeding import derive

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

__all__ = ["digits"]

Images: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int64]
Angles: TypeAlias = NDArray[np.float32]
Part: TypeAlias = tuple[Images, Labels]
PartWithAngles: TypeAlias = tuple[Images, Labels, Angles]

_RECIPE = 1  # raise it when the code below draws other images for the same seed, so that old cache files are not taken for new

_SIDE = 28  # pixels of an image
_FINE = 3  # an image is drawn this many times finer, then averaged down: that is the anti-aliasing
_MASTER_SIDE = 112  # pixels of the canvas a glyph is drawn on once, upright and centred
_MASTER_HEIGHT = 72  # pixels of a digit's height on that canvas

# Sans, mono, serif, slanted, bold: all shipped by matplotlib. Old-style digits (cmmi10's) would not do: their heights differ.
_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
    "cmr10",
    "cmb10",
    "cmss10",
    "cmtt10",
    "cmti10",
)

# The ranges every property is drawn from, uniformly. Where a digit lies matters most to a network whose dense layer sees raw
# positions: with these, one convolution and one dense layer err on one test image in ninety with batch normalization, and on
# twice as many without. Wider ranges make the set harder.
_ROTATION = (-45.0, 45.0)  # degrees, counter-clockwise
_HEIGHT = (18.0, 21.0)  # pixels, of an unstretched digit
_STRETCH = (-0.1, 0.1)  # log of the width's factor; the height takes the inverse
_SHEAR = (-0.1, 0.1)  # horizontal shift per unit of height
_SHIFT = (-0.9, 0.9)  # pixels, in x and in y
_BRIGHTNESS = (0.8, 1.0)  # of full white
_STROKES = 4  # weights: the font's own, and its outline widened by 1, 2 and 3 pixels of the master canvas


@overload
def digits(*, n_train: int = ..., n_test: int = ..., seed: int = ..., angles: Literal[False] = ...) -> tuple[Part, Part]: ...


@overload
def digits(
    *, n_train: int = ..., n_test: int = ..., seed: int = ..., angles: Literal[True]
) -> tuple[PartWithAngles, PartWithAngles]: ...


def digits(
    *, n_train: int = 5000, n_test: int = 5000, seed: int = 0, angles: bool = False
) -> tuple[Part, Part] | tuple[PartWithAngles, PartWithAngles]:
    """Return synthetic digits for training and testing: bright, anti-aliased, on black, in 16 fonts, rotated within ±45°.

    Drawn on the first call (about two seconds), then read from the user cache. Training and test images are drawn from the
    same distribution by independent random streams. They come shuffled and balanced: every ten images in a row hold each digit
    once. The first `n` images do not depend on how many follow. Labels, angles and all other choices depend on `seed` alone;
    pixels are the same wherever Pillow and matplotlib's fonts are of the same version.

    Args:
        n_train: number of training images, at least 1.
        n_test: number of test images, at least 1.
        seed: a whole number; another one gives other images.
        angles: if true, each part is `(x, y, angle)`, for regression.

    Returns:
        `((x, y), (x_test, y_test))`: `x` float32 (n, 1, 28, 28) in [0, 1]; `y` int64 (n,), the digit; `angle` float32 (n,), the
        rotation in degrees, positive counter-clockwise, in [-45, 45].

    Raises:
        ArgumentError: if a number is not whole, or below 1.
        FileError: if matplotlib's font files cannot be found.

    Source:
        Modelled on the 5,000 + 5,000 synthetic digits that MATLAB ships (`digitTrain4DArrayData`).

    >>> (x, y), (x_test, y_test) = digits(n_train=20, n_test=10)
    >>> x.shape, x.dtype, y.dtype
    ((20, 1, 28, 28), dtype('float32'), dtype('int64'))
    >>> sorted(y_test.tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    >>> (_, _, angle), _ = digits(n_train=20, n_test=10, angles=True)
    >>> bool(abs(angle).max() <= 45)
    True
    """
    seed = _whole("seed", seed)
    n_train, n_test = _whole("n_train", n_train, at_least=1), _whole("n_test", n_test, at_least=1)
    train, test = _part("train", n_train, seed), _part("test", n_test, seed)
    return (train, test) if angles else (train[:2], test[:2])


def _whole(name: str, value: object, *, at_least: int | None = None) -> int:
    """Return `value` as an int (NumPy's ints are fine, bools are not), or raise the complaint about argument `name`."""
    least = "" if at_least is None else f" of at least {at_least}"
    number = operator.index(value) if isinstance(value, SupportsIndex) and not isinstance(value, bool) else None
    if number is None or (at_least is not None and number < at_least):
        raise ArgumentError(
            complaint(
                f"digits({name}=)",
                expected=f"a whole number{least}",
                received=repr(value),
                fix=f"Pass {name}={'0' if at_least is None else '5000'}, for example",
            )
        )
    return number


def _part(part: str, n: int, seed: int) -> PartWithAngles:
    """Return one part as floats, from the cache or drawn."""
    fonts = _font_folder()
    rng = np.random.Generator(np.random.PCG64(derive(seed, "digits", part)))
    name = f"digits-{part}-n{n}-seed{seed}-{_fingerprint(fonts)}"
    found = cached_arrays(name, lambda: _draw(n, rng, fonts))
    x = np.divide(found["x"], np.float32(255), dtype=np.float32)[:, None]  # (n, 1, 28, 28)
    return x, found["y"].astype(np.int64), found["angle"]


def _font_folder() -> Path:
    """Return the folder of the fonts that matplotlib ships, without importing matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    places = [Path(p) / "mpl-data" / "fonts" / "ttf" for p in (spec and spec.submodule_search_locations) or ()]
    for place in places:
        if all((place / f"{name}.ttf").is_file() for name in _FONTS):
            return place
    raise FileError(
        complaint(
            "digits()",
            expected=f"the {len(_FONTS)} font files that matplotlib ships in mpl-data/fonts/ttf",
            received=f"not all of them in {places[0]}" if places else "no installed matplotlib",
            fix="Type: pip install --force-reinstall matplotlib",
        )
    )


def _fingerprint(fonts: Path) -> str:
    """Return a short name for all that the pixels depend on besides the arguments: our recipe, the drawing code, the fonts."""
    from PIL import __version__, features

    recipe = (_RECIPE, _FONTS, _ROTATION, _HEIGHT, _STRETCH, _SHEAR, _SHIFT, _BRIGHTNESS, _STROKES)
    digest = hashlib.sha256(f"{recipe} {__version__} {features.version('freetype2')}".encode())
    for name in _FONTS:
        digest.update((fonts / f"{name}.ttf").read_bytes())
    return digest.hexdigest()[:16]


def _draw(n: int, rng: np.random.Generator, fonts: Path) -> dict[str, NDArray[Any]]:
    """Return `n` images as bytes: x uint8 (n, 28, 28), y uint8 (n,), angle float32 (n,).

    Only `rng.random` is used, because NumPy promises least change in it; everything else is arithmetic on its numbers.
    """
    blocks = rng.random((-(-n // 10), 10, 10))
    label = blocks[:, :, 0].argsort(axis=1).reshape(-1)[:n]  # each block of ten: a random order of 0..9
    u = blocks.reshape(-1, 10)[:n, 1:].T  # (9, n), one row a property

    font = np.floor(u[0] * len(_FONTS)).astype(int)
    stroke = np.floor(u[1] * _STROKES).astype(int)
    angle = _between(_ROTATION, u[2]).astype(np.float32)
    inverse = _from_image_to_master(
        radians=np.radians(angle.astype(np.float64)),
        height=_between(_HEIGHT, u[3]),
        stretch=np.exp(_between(_STRETCH, u[4])),
        shear=_between(_SHEAR, u[5]),
        centre=_SIDE / 2 + _between(_SHIFT, u[6:8]).T,
    )
    brightness = _between(_BRIGHTNESS, u[8])

    face = functools.cache(lambda f: _face(fonts / f"{_FONTS[f]}.ttf"))
    master = functools.cache(lambda f, digit, s: _master(face(f), str(digit), s))
    x = np.empty((n, _SIDE, _SIDE), np.uint8)
    for i, key in enumerate(zip(font.tolist(), label.tolist(), stroke.tolist(), strict=True)):
        x[i] = _warped(master(*key), tuple(inverse[i].tolist()))
    x = np.rint(x * brightness[:, None, None]).astype(np.uint8)
    return {"x": x, "y": label.astype(np.uint8), "angle": angle}


def _between(bounds: tuple[float, float], u: NDArray[np.float64]) -> NDArray[np.float64]:
    return bounds[0] + (bounds[1] - bounds[0]) * u


def _face(path: Path) -> FreeTypeFont:
    """Return the font in the size in which its digits are `_MASTER_HEIGHT` high."""
    from PIL import ImageFont

    basic = ImageFont.Layout.BASIC  # the other layout engine is not on every machine, and digits need no ligatures
    _, top, _, bottom = ImageFont.truetype(path, 200, layout_engine=basic).getbbox("0")
    return ImageFont.truetype(path, round(200 * _MASTER_HEIGHT / (bottom - top)), layout_engine=basic)


def _master(face: FreeTypeFont, digit: str, stroke: int) -> Image:
    """Return the digit large, upright and centred, its outline widened by `stroke` pixels."""
    from PIL import Image, ImageDraw

    sheet = Image.new("L", (2 * _MASTER_SIDE, 2 * _MASTER_SIDE))
    ImageDraw.Draw(sheet).text((_MASTER_SIDE // 2, _MASTER_SIDE // 2), digit, font=face, fill=255, stroke_width=stroke)
    ink = sheet.crop(sheet.getbbox())  # a font's own box is as wide as its advance, so its middle is not the digit's
    image = Image.new("L", (_MASTER_SIDE, _MASTER_SIDE))
    image.paste(ink, ((_MASTER_SIDE - ink.width) // 2, (_MASTER_SIDE - ink.height) // 2))
    return image


def _from_image_to_master(
    *,
    radians: NDArray[np.float64],
    height: NDArray[np.float64],
    stretch: NDArray[np.float64],
    shear: NDArray[np.float64],
    centre: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the maps (n, 6) that give, for a point of the fine image, the point of the master it shows.

    The master is stretched, sheared, rotated and moved to `centre` (n, 2); Pillow asks for the inverse of that. The y axis of
    an image points down, which is why a counter-clockwise rotation is [[cos, sin], [-sin, cos]].
    """
    cos, sin = np.cos(radians), np.sin(radians)
    rotate = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)  # (n, 2, 2)
    scale = height * (_FINE / _MASTER_HEIGHT)
    zero = np.zeros_like(scale)
    form = np.stack([np.stack([stretch, shear / stretch], -1), np.stack([zero, 1 / stretch], -1)], -2) * scale[:, None, None]
    back = np.linalg.inv(rotate @ form)
    offset = _MASTER_SIDE / 2 - np.einsum("nij,nj->ni", back, centre * _FINE)
    return np.concatenate([back, offset[:, :, None]], axis=2).reshape(-1, 6)


def _warped(master: Image, inverse: tuple[float, ...]) -> NDArray[np.uint8]:
    """Return the master seen through the map, drawn `_FINE` times finer and averaged down to (28, 28)."""
    from PIL import Image

    fine = master.transform((_SIDE * _FINE, _SIDE * _FINE), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
    return np.asarray(fine.reduce(_FINE), np.uint8)
