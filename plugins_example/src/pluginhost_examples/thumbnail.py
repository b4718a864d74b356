"""A small version of an image. Shows options: `host.execute("thumbnail", path, width=64)`."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from pluginhost import hookimpl

SUFFIXES = {".png", ".jpg", ".jpeg"}


@hookimpl
def execute(payload: Path, options: Mapping[str, Any]) -> bytes | None:
    """Return the image at most `width` pixels wide (240 by default), in its own file format.

    The proportions stay, and a smaller image is not enlarged. None for a file that is not
    `.png`, `.jpg` or `.jpeg`.
    """
    if payload.suffix.lower() not in SUFFIXES:
        return None
    with Image.open(payload) as image, BytesIO() as small:
        image.thumbnail((options.get("width", 240), image.height))
        image.save(small, format=image.format)
        return small.getvalue()
