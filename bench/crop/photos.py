"""Makes the photos of the comparison: 4:3, of 320, 1024 and 4000 pixels.

Those of 1024 x 768 are originals of Open Images as they are; the others are scaled from
them, or from larger ones where there are, and saved with quality 90.
"""

import pathlib
import sys

from PIL import Image

source, to = map(pathlib.Path, sys.argv[1:3])
originals = [p for p in sorted(source.rglob("*.jpg")) if Image.open(p).size == (1024, 768)]
for side, count in ((320, 24), (1024, 24), (4000, 6)):
    folder = to / str(side)
    folder.mkdir(parents=True, exist_ok=True)
    for path in originals[:count]:
        if side == 1024:
            (folder / path.name).write_bytes(path.read_bytes())
        else:
            picture = Image.open(path).convert("RGB").resize((side, side * 3 // 4), Image.Resampling.LANCZOS)
            picture.save(folder / path.name, quality=90)
(to / "done").touch()
