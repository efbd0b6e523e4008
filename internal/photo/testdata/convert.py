"""Converts a grid of colours to sRGB with Little CMS: run by TestLittleCMS.

For each NAME.icc of the folder given, NAME.rgb has the colours (r, g, b), each of 0, 51, ...
255, as sRGB, with relative colorimetric intent.
"""

import itertools
import pathlib
import sys

from PIL import Image, ImageCms

grid = bytes(v for colour in itertools.product(range(0, 256, 51), repeat=3) for v in colour)
picture = Image.frombytes("RGB", (len(grid) // 3, 1), grid)
srgb = ImageCms.createProfile("sRGB")
for path in pathlib.Path(sys.argv[1]).glob("*.icc"):
    converted = ImageCms.profileToProfile(picture, str(path), srgb, ImageCms.Intent.RELATIVE_COLORIMETRIC)
    path.with_suffix(".rgb").write_bytes(converted.tobytes())
