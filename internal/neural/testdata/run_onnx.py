"""Runs every DIR/NAME.onnx on the bytes of DIR/NAME.pixels, and writes the probabilities
to DIR/NAME.probabilities as little-endian float32."""

import glob
import json
import sys

import numpy
import onnxruntime

for path in sorted(glob.glob(sys.argv[1] + "/*.onnx")):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[1]
    pixels = numpy.fromfile(path.replace(".onnx", ".pixels"), dtype=numpy.uint8).reshape(-1, side, side, 3)
    labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
    (probabilities,) = session.run(["probabilities"], {"pictures": pixels})
    assert probabilities.shape == (len(pixels), len(labels)), probabilities.shape
    probabilities.astype("<f4").tofile(path.replace(".onnx", ".probabilities"))
