# ruff: noqa: INP001 - a script, not a module of a package
"""Makes the CSV file and the two images in `data/`; run it after changing it, and commit both.

The other files there are written by hand.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from math import pi, sin
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageOps

DATA = Path(__file__).with_name("data")
SIZE = (1200, 800)
DAYS = 30


def tides(path: Path) -> None:
    """Write a month of hourly readings: a tide, a temperature by day and night, a gusty wind."""
    random = Random(1)
    start = datetime(2025, 6, 1, tzinfo=UTC)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["time", "water_level_m", "air_temperature_c", "wind_speed_ms", "remark"])
        for hour in range(24 * DAYS):
            springs = 1 + 0.3 * sin(2 * pi * hour / 354)
            level = 2.4 + 1.5 * springs * sin(2 * pi * hour / 12.42) + random.gauss(0, 0.04)
            warmth = 12 + 4 * sin(2 * pi * (hour - 9) / 24) + random.gauss(0, 0.5)
            wind = random.weibullvariate(6, 2)
            asleep = random.random() < 0.02
            rows.writerow(
                [
                    (start + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%MZ"),
                    f"{level:.2f}",
                    "" if asleep else f"{warmth:.1f}",
                    f"{wind:.1f}",
                    "gull on sensor" if asleep else "",
                ]
            )


def sunrise() -> Image.Image:
    """Return a sky from night blue to orange, with a sun on the horizon."""
    dark_to_light = Image.linear_gradient("L").resize(SIZE, Image.Resampling.BICUBIC)
    sky = ImageOps.colorize(dark_to_light, black="#14213d", mid="#b56576", white="#ffb703")
    ImageDraw.Draw(sky).ellipse((500, 640, 700, 840), fill="#fff3b0")
    return sky


def harbour() -> Image.Image:
    """Return the same sky over three ranges of hills, with the grain of a photograph."""
    grain = Image.frombytes("L", (600, 400), Random(2).randbytes(600 * 400)).resize(SIZE)
    picture = Image.blend(sunrise(), grain.convert("RGB"), 0.08)
    pen = ImageDraw.Draw(picture)
    for depth, colour in enumerate(("#6d597a", "#355070", "#0b132b")):
        ridge = [
            (x, 560 + 70 * depth + 40 * sin(x / (150 - 40 * depth) + depth)) for x in range(1201)
        ]
        pen.polygon([(0, 800), *ridge, (1200, 800)], fill=colour)
    return picture


if __name__ == "__main__":
    tides(DATA / "tides.csv")
    sunrise().save(DATA / "sunrise.png", optimize=True)
    harbour().save(DATA / "harbour.jpg", quality=92)
