"""Real files for the tests, written by PyAV or by hand."""

from __future__ import annotations

import io
import struct

import av
import numpy as np

_SUBTYPES = {"u1": (1, 8), "<i2": (1, 16), "<i4": (1, 32), "<f4": (3, 32), "<f8": (3, 64)}


def wav(samples: np.ndarray, rate: int) -> bytes:
    """samples: (N, channels) of one of the types above."""
    code, bits = _SUBTYPES[samples.dtype.str.removeprefix("|")]
    channels = samples.shape[1]
    align = channels * bits // 8
    layout = struct.pack("<HHIIHH", code, channels, rate, min(rate * align, 2**32 - 1), align, bits)
    data = samples.tobytes()
    body = b"WAVEfmt " + struct.pack("<I", 16) + layout + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def encoded(samples: np.ndarray, rate: int, container: str, codec: str, video: bool = False) -> bytes:
    """A file of any container; samples: (N,) float32; with black pictures beside the sound if `video`."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        pictures = output.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p") if video else None
        stream = output.add_stream(codec, rate=rate)
        stream.codec_context.layout = "mono"
        if pictures is not None:
            for _ in range(10 * samples.size // rate):
                black = np.zeros((32, 32, 3), np.uint8)
                output.mux(pictures.encode(av.VideoFrame.from_ndarray(black, format="rgb24")))
            output.mux(pictures.encode(None))
        frame = av.AudioFrame.from_ndarray(samples[None], "flt", "mono")
        frame.sample_rate, frame.pts = rate, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()
