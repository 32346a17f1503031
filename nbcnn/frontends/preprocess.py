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
    input. ``mean`` and ``std`` are one number or one per channel; pixels are 0 to 255. ``color``
    follows from the input's channels where it is not given.
    """

    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
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
        if 0 in (self.std if isinstance(self.std, tuple) else (self.std,)):
            raise ModelFileError("std must not be 0")


def load_image(path: str | Path, graph: Graph) -> np.ndarray:
    """The image file at ``path`` as the input [1, C, H, W] of ``graph``, as its ``preprocess`` says.

    Turned as its EXIF data says; what is transparent becomes white. Raises ModelFileError for a
    file that is no image, InputError for a graph that takes none.
    """
    settings = graph.meta.get("preprocess") or Preprocess()
    channels, height, width = _input(graph, settings)
    image = _open(Path(path), "L" if channels == 1 else "RGB")
    image = _fit(image, settings, (height, width), str(path))
    pixels = np.asarray(image, np.float32).reshape(height, width, channels)
    for name in ("mean", "std"):
        value = getattr(settings, name)
        if isinstance(value, tuple) and len(value) != channels:
            raise InputError(f"preprocess: {name} has {len(value)} numbers for {channels} channels")
    mean, std = np.asarray(settings.mean, np.float32), np.asarray(settings.std, np.float32)
    pixels = (pixels * np.float32(settings.scale) - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


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


def _open(path: Path, mode: str) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is lower
            file = Image.open(path, formats=FORMATS)
        with file:
            if file.width * file.height > MAX_PIXELS:
                raise ModelFileError(f"has {file.width} x {file.height} pixels, over the limit of 64 million")
            return _in_mode(ImageOps.exif_transpose(file), mode)
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


def _in_mode(image: Image, mode: str) -> Image:
    """``image`` in ``mode`` (L, RGB): 16-bit pixels brought to 8, transparency laid on white."""
    from PIL import Image

    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _fit(image: Image, settings: Preprocess, wanted: tuple[int, int], path: str) -> Image:
    """Resized and cropped to ``wanted`` (height, width)."""
    from PIL.Image import Resampling

    resize, crop = settings.resize, settings.crop
    if resize is None and crop is None:
        resize = wanted
    if isinstance(resize, int):
        short = min(image.size)
        resize = (image.height * resize // short, image.width * resize // short)
        crop = crop or wanted
    if resize:
        if resize[0] * resize[1] > MAX_PIXELS:
            raise ModelFileError(f"is too long and thin: {image.width} x {image.height} pixels", where=path)
        image = image.resize((resize[1], resize[0]), Resampling[settings.filter.upper()])
    if crop:
        rows, columns = (crop, crop) if isinstance(crop, int) else crop
        top, left = round((image.height - rows) / 2), round((image.width - columns) / 2)
        if top < 0 or left < 0:
            raise ModelFileError(f"is smaller than the crop of {columns} x {rows} pixels", where=path)
        image = image.crop((left, top, left + columns, top + rows))
    if (image.height, image.width) != wanted:
        made = f"{image.height} x {image.width}"
        raise InputError(f"preprocess makes images of {made}, the model takes {wanted[0]} x {wanted[1]}")
    return image
