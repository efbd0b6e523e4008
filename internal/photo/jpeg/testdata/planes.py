"""Writes what libjpeg-turbo makes of JPEGs: run by TestPillow.

For each NAME.jpg of the folder given, NAME.planes has luma, and after it chroma where that
is not subsampled (and so not interpolated). Of NAME.grey, with 64 x 48 samples, NAME.grey.out
is the JPEG of quality 90.
"""

import pathlib
import sys

from PIL import Image

for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    if path.suffix == ".jpg":
        picture = Image.open(path)
        full = picture.mode == "L" or all(layer[1:3] == (1, 1) for layer in picture.layer)
        if picture.mode == "RGB":
            picture.draft("YCbCr", picture.size)
        planes = picture.split() if full else picture.split()[:1]
        path.with_suffix(".planes").write_bytes(b"".join(p.tobytes() for p in planes))
    elif path.suffix == ".grey":
        Image.frombytes("L", (64, 48), path.read_bytes()).save(f"{path}.out", "JPEG", quality=90)
