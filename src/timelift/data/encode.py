"""Frames to a video file without loss."""

import io

import av
import numpy as np


def encode_grey(frames: np.ndarray, fps: int) -> bytes:
    """Matroska with FFV1 of grey frames (T, H, W) uint8: the same bytes for the same frames, nothing lost."""
    file = io.BytesIO()
    # bitexact: no date and no random id in the file
    with av.open(file, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "gray"
        stream.codec_context.thread_count = 1
        for time, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="gray")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
