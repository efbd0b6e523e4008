"""The other sides of the comparison: cuts boxes out of photos with Pillow, OpenCV or libvips.

Each takes the fastest way that it offers: the decoder scales down by 2, 4 or 8 as far as the
box keeps the pixels that the crop is to have, the rest is resampled, and the crop is saved
with quality 90. For each line "FRACTION SIZE PASSES" on standard input it goes through all
photos so many times, and answers with the time on the clock, of the processor, and the peak
of memory in MiB.
"""

import concurrent.futures
import io
import pathlib
import resource
import sys
import time

name, folder, threads = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
photos = [p.read_bytes() for p in sorted(folder.glob("*.jpg"))]
width = int(folder.name)
height = width * 3 // 4


def plan(fraction, size):
    """Returns the box, the scale of decoding, and the size of the crop."""
    w, h = int(width * fraction), int(height * fraction)
    x, y = (width - w) // 2, (height - h) // 2
    scale = 8
    while scale > 1 and max(w, h) < size * scale:
        scale //= 2
    return (x, y, x + w, y + h), scale, (size, max(1, round(h * size / w)))


def pillow(data, box, scale, size):
    picture = Image.open(io.BytesIO(data))
    picture.draft("RGB", (-(-width // scale), -(-height // scale)))
    crop = picture.resize(size, Image.Resampling.BICUBIC, box=tuple(v / scale for v in box))
    out = io.BytesIO()
    crop.save(out, "JPEG", quality=90)
    return out.getvalue()


def part(box, scale):
    """Returns the whole pixels that a box covers at a scale."""
    return box[0] // scale, box[1] // scale, -(-box[2] // scale), -(-box[3] // scale)


def opencv(data, box, scale, size):
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), reduced[scale])
    x, y, right, bottom = part(box, scale)
    shrinks = right - x > size[0]
    crop = cv2.resize(picture[y:bottom, x:right], size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def vips(data, box, scale, size):
    picture = pyvips.Image.new_from_buffer(data, "", shrink=scale, access="sequential")
    x, y, right, bottom = part(box, scale)
    crop = picture.crop(x, y, min(right, picture.width) - x, min(bottom, picture.height) - y)
    crop = crop.resize(size[0] / crop.width, vscale=size[1] / crop.height, kernel="cubic")
    return crop.jpegsave_buffer(Q=90)


if name == "pillow":
    import PIL
    from PIL import Image, features

    crop, version = pillow, f"{PIL.__version__} (libjpeg-turbo {features.version('libjpeg_turbo')})"
elif name == "opencv":
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    reduced = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
    crop, version = opencv, cv2.__version__
else:
    import pyvips

    pyvips.cache_set_max(0)
    crop, version = vips, ".".join(str(pyvips.version(i)) for i in range(3))

pool = concurrent.futures.ThreadPoolExecutor(threads)
print(version, flush=True)
for line in sys.stdin:
    fraction, size, passes = line.split()
    box, scale, to = plan(float(fraction), int(size))
    work = photos * int(passes)
    clock, processor = time.perf_counter(), time.process_time()
    if threads == 1:
        for data in work:
            crop(data, box, scale, to)
    else:
        for _ in pool.map(lambda data: crop(data, box, scale, to), work):
            pass
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    print(clock, processor, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
