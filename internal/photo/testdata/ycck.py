"""Makes JPEGs of four inks as YCCK, and says what libjpeg-turbo reads in them: run by TestYCCK.

NAME.jpg and NAME.rgb are written to the folder given. Pillow stores four components as they
are, and inverted; transform 2 of Adobe's marker then says that they are YCCK.
"""

import pathlib
import sys

from PIL import Image, ImageChops

size = (96, 64)
across, ball = Image.linear_gradient("L").resize(size), Image.radial_gradient("L").resize(size)
down = Image.linear_gradient("L").rotate(90).resize(size)
inks = Image.merge("RGB", (across, ball, down)).convert("YCbCr")
black = across.point(lambda v: 255 - v // 3)
picture = ImageChops.invert(Image.merge("CMYK", (*inks.split(), black)))
for name, subsampling in (("ycck", 0), ("ycck-420", 2)):
    path = pathlib.Path(sys.argv[1], name).with_suffix(".jpg")
    picture.save(path, quality=92, subsampling=subsampling)
    data = bytearray(path.read_bytes())
    data[data.index(b"Adobe") + 11] = 2
    path.write_bytes(data)
    read = Image.open(path)
    path.with_suffix(".rgb").write_bytes(read.convert("RGB").tobytes())
    print(path.name, read.mode, read.layer)
