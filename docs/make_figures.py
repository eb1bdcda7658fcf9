"""Run the pages of this folder and save the pictures they draw, each page's in its own folder.

    python docs/make_figures.py

Needs matplotlib: pip install ".[plot]". PNGs are saved with 256 colours: half the bytes.
"""

import contextlib
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "tests"))

import pages  # noqa: E402
from PIL import Image  # noqa: E402  comes with matplotlib

for page in [DOCS / "why_the_derivative.md"]:
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    with contextlib.chdir(folder):
        pages.run(page)
    for picture in sorted(folder.iterdir()):
        if picture.suffix == ".png":
            with Image.open(picture) as image:
                few = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
            few.save(picture, optimize=True)
        print(f"{picture.relative_to(DOCS)}: {picture.stat().st_size:,} bytes")
