"""Image files: which endings and decoders are accepted, opened with a bound on their pixels, and read as RGB."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from hpc_recon.core.array import Array
from hpc_recon.core.errors import DataError

#: Endings of images, and the decoders that may read them; no other is tried, whatever the content.
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
DECODERS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
#: A file may announce so many pixels whatever its size, and above that so many for each of its bytes: a plain 8-bit
#: image packed by deflate has at most 1032, a photograph a few.
_FREE_PIXELS, _PIXELS_A_BYTE = 1 << 22, 1032


def list_images(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted by name.

    Raises
    ------
    DataError
        If the folder is missing or has no image.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} does not exist, or is not a folder; correct the path, which starts at the study file"
        )
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise DataError(f"{folder} has no image ({' '.join(IMAGE_ENDINGS)}); correct the path")
    return found


@contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """Open an image by one of `DECODERS`; what Pillow raises inside the block becomes `DataError`.

    Raises
    ------
    DataError
        If it cannot be decoded, has more pixels than Pillow thinks safe, or more than its bytes can hold.
    """
    try:
        with warnings.catch_warnings():
            # also Pillow's warnings of damaged metadata: they concern no pixel
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=DECODERS) as image:
                pixels, size = image.width * image.height, path.stat().st_size
                if pixels > max(_FREE_PIXELS, _PIXELS_A_BYTE * size):
                    raise DataError(
                        f"the image {path} has too many pixels for its {size} bytes ({image.width} x {image.height}); "
                        "it is truncated or damaged: replace it"
                    )
                yield image
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"the image {path} has too many pixels ({error}); make it smaller, or remove it") from error
    except Exception as error:  # Pillow's decoders raise many kinds
        raise DataError(
            f"the image {path} cannot be decoded ({type(error).__name__}: {error}); is it damaged? Replace it"
        ) from error


def read_image(path: Path) -> Array:
    """Read an image as (H, W, 3) uint8 RGB, turned upright; grey is repeated, transparency laid on white.

    Raises
    ------
    DataError
        As `opened_image`; if it has more bits than can be converted without a choice.
    """
    with opened_image(path) as raw:
        image = ImageOps.exif_transpose(raw)
        if image.mode.startswith("I;16"):
            deep = np.asarray(image).astype(np.float64)
            return np.repeat(np.rint(deep / 257).astype(np.uint8)[..., None], 3, axis=2)
        if image.mode in ("I", "F"):
            raise DataError(f"{path} has 32 bits a pixel (mode {image.mode}); save it with 8 or 16")
        if image.has_transparency_data:
            layer = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        return np.asarray(image.convert("RGB")).copy()


def resize(image: Array, size: int) -> Array:
    """Resize (H, W, 3) uint8 to (size, size, 3), bicubic with antialiasing; unchanged if it has that size."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)).copy()
