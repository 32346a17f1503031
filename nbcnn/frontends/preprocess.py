"""From an image file to the array that a model takes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from nbcnn.errors import InputError, ModelFileError
from nbcnn.ir.graph import Graph

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 64_000_000


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes a model's input: resize, crop the centre, ``(pixel * scale - mean) / std``.

    ``resize`` is the length of the shorter side, or (height, width); by default that of the model's
    input. ``letterbox`` instead makes the whole image fit, its ratio kept, between bars of that gray
    (0 to 255). ``mean`` and ``std`` are one number or one per channel; pixels are 0 to 255. ``color``
    follows from the input's channels where it is not given.
    """

    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    letterbox: int | None = None
    scale: float = 1 / 255
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    color: Literal["rgb", "gray"] | None = None
    filter: Literal["bilinear", "bicubic", "box", "nearest"] = "bilinear"

    def __post_init__(self) -> None:
        for name in ("resize", "crop"):
            value = getattr(self, name)
            if value is not None and min(value if isinstance(value, tuple) else (value,)) < 1:
                raise ModelFileError(f"{name} must be at least 1, got {value}")
        if self.letterbox is not None:
            if self.resize or self.crop:
                raise ModelFileError("letterbox stands without resize and crop")
            if not 0 <= self.letterbox <= 255:
                raise ModelFileError(f"letterbox must be a gray from 0 to 255, got {self.letterbox}")
        if 0 in (self.std if isinstance(self.std, tuple) else (self.std,)):
            raise ModelFileError("std must not be 0")


@dataclass(frozen=True)
class Placement:
    """Where an image lies in a model's input: a point (y, x) of it is at ``point * scale + offset`` there.

    Points are counted in pixels from the upper left corner; ``image`` and ``input`` are (height, width).
    """

    image: tuple[int, int]
    input: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]


def load_image(path: str | Path, graph: Graph) -> np.ndarray:
    """The image file at ``path`` as the input [1, C, H, W] of ``graph``, as its ``preprocess`` says.

    Raises ModelFileError for a file that is no image, InputError for a graph that takes none.
    """
    return prepare(read_image(path), graph, str(path))[0]


def read_image(path: str | Path) -> Image:
    """The image file at ``path`` in RGB, turned as its EXIF data says; what is transparent becomes white.

    Raises ModelFileError for a file that is no image, or one of more than `MAX_PIXELS`.
    """
    return _open(Path(path))


def prepare(image: Image, graph: Graph, path: str = "image") -> tuple[np.ndarray, Placement]:
    """An image in RGB as the input [1, C, H, W] of ``graph``, and where it lies there.

    ``path`` is for error messages. Raises InputError for a graph that takes no images, ModelFileError
    for an image that cannot be made to fit.
    """
    settings = graph.meta.get("preprocess") or Preprocess()
    channels, height, width = _input(graph, settings)
    fitted, place = _fit(image if channels == 3 else image.convert("L"), settings, (height, width), path)
    pixels = np.asarray(fitted, np.float32).reshape(height, width, channels)
    for name in ("mean", "std"):
        value = getattr(settings, name)
        if isinstance(value, tuple) and len(value) != channels:
            raise InputError(f"preprocess: {name} has {len(value)} numbers for {channels} channels")
    mean, std = np.asarray(settings.mean, np.float32), np.asarray(settings.std, np.float32)
    pixels = (pixels * np.float32(settings.scale) - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]), place


def _input(graph: Graph, settings: Preprocess) -> tuple[int, int, int]:
    """Channels, height and width of the only input."""
    types = list(graph.inputs.values())
    shape = types[0].shape
    if len(types) != 1 or len(shape) != 4 or shape[1] not in (1, 3) or shape[0] not in ("N", 1):
        described = ", ".join(f"{k}: {t}" for k, t in graph.inputs.items())
        raise InputError(f"model '{graph.name}' does not take images: its inputs are {described}")
    _, channels, height, width = (int(d) for d in types[0].extents())
    if settings.color and channels != {"rgb": 3, "gray": 1}[settings.color]:
        raise InputError(f"preprocess: color is {settings.color}, the model's input has {channels} channels")
    return channels, height, width


def _open(path: Path) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is lower
            file = Image.open(path, formats=FORMATS)
        with file:
            if file.width * file.height > MAX_PIXELS:
                raise ModelFileError(f"has {file.width} x {file.height} pixels, over the limit of 64 million")
            return _in_rgb(ImageOps.exif_transpose(file))
    except ModelFileError as error:
        error.where = str(path)
        raise
    except UnidentifiedImageError:
        reason = f"is no image (known: {', '.join(FORMATS)})"
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    except Exception as error:  # decoders raise whatever a broken file makes them stumble over
        reason = f"is a broken image: {error}"
    raise ModelFileError(" ".join(reason.split()), where=str(path))


def _in_rgb(image: Image) -> Image:
    """``image`` in RGB: 16-bit pixels brought to 8, transparency laid on white."""
    from PIL import Image

    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _fit(image: Image, settings: Preprocess, wanted: tuple[int, int], path: str) -> tuple[Image, Placement]:
    """The image resized and cropped, or put between bars, to ``wanted`` (height, width)."""
    from PIL import Image
    from PIL.Image import Resampling

    size = (image.height, image.width)
    resize, crop, offset = settings.resize, settings.crop, (0, 0)
    if settings.letterbox is not None:
        ratio = min(wanted[0] / size[0], wanted[1] / size[1])
        resize = (max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio)))
    elif resize is None and crop is None:
        resize = wanted
    if isinstance(resize, int):
        short = min(size)
        resize = (size[0] * resize // short, size[1] * resize // short)
        crop = crop or wanted
    if resize:
        if resize[0] * resize[1] > MAX_PIXELS:
            raise ModelFileError(f"is too long and thin: {size[1]} x {size[0]} pixels", where=path)
        image = image.resize((resize[1], resize[0]), Resampling[settings.filter.upper()])
    scale = (image.height / size[0], image.width / size[1])
    if settings.letterbox is not None:
        offset = ((wanted[0] - image.height) // 2, (wanted[1] - image.width) // 2)
        whole = Image.new(image.mode, (wanted[1], wanted[0]), "#" + 3 * f"{settings.letterbox:02x}")
        whole.paste(image, (offset[1], offset[0]))
        image = whole
    elif crop:
        rows, columns = (crop, crop) if isinstance(crop, int) else crop
        top, left = round((image.height - rows) / 2), round((image.width - columns) / 2)
        if top < 0 or left < 0:
            raise ModelFileError(f"is smaller than the crop of {columns} x {rows} pixels", where=path)
        image = image.crop((left, top, left + columns, top + rows))
        offset = (-top, -left)
    if (image.height, image.width) != wanted:
        made = f"{image.height} x {image.width}"
        raise InputError(f"preprocess makes images of {made}, the model takes {wanted[0]} x {wanted[1]}")
    return image, Placement(size, wanted, scale, offset)
