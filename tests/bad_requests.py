"""What a server has to refuse: requests that are no JSON, of another shape, too large, or hold what is no image."""
import base64
import io
import json
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(image[:, :, 0]).save(file, kind)
    return file.getvalue()


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def bomb():
    """A PNG file of 30,000 x 30,000 pixels as far as its header tells."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(bytes(1000)))
    packed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def bad_requests(image):
    """{name: (body, status, words of the reason)} for a network of images like `image`, uint8 (32, 32, 1)."""
    files = {"signature_name": "from_bytes"}
    jpeg = encoded(np.kron(image, np.ones((8, 8, 1), "uint8")), "JPEG")
    blank = np.zeros((32, 32, 1)).tolist()
    return {
        "not JSON": (b"{instances", 400, "not JSON"),
        "no object": ([1], 400, "Expected a JSON object"),
        "deep": (b'{"instances": ' + b"[" * 100_000, 400, "not JSON"),
        "wrong key": ({"instance": [blank]}, 400, "Did you mean 'instances'?"),
        "both formats": ({"instances": [blank], "inputs": [blank]}, 400, "either"),
        "nothing": ({"instances": []}, 400, "of shape (batch, 32, 32, 1). Received: (0,)"),
        "no list": ({"instances": 3}, 400, "Expected a list of rows"),
        "wrong shape": ({"instances": [[1, 2]]}, 400, "of shape (batch, 32, 32, 1). Received: (1, 2)"),
        "rows differ": ({"instances": [blank, [1]]}, 400, "its rows differ"),
        "strings": ({"instances": [np.full((32, 32, 1), "1").tolist()]}, 400, "float32 numbers only"),
        "null": ({"instances": [None]}, 400, "float32 numbers only"),
        "too large a number": ({"instances": np.full((1, 32, 32, 1), 1e300).tolist()}, 400, "finite"),
        "NaN": (json.dumps({"instances": np.full((1, 32, 32, 1), np.nan).tolist()}).encode(), 400, "NaN"),
        "wrong input": ({"instances": [{"imag": blank}]}, 400, "Did you mean 'image'?"),
        "rows named otherwise": ({"instances": [{"image": blank}, {}]}, 400, "the same inputs"),
        "wrong signature": ({"signature_name": "from_byte", "instances": [1]}, 400, "Did you mean 'from_bytes'?"),
        "no signature": ({"signature_name": ["x"], "instances": [1]}, 400, "signature"),
        "no Base64": ({**files, "instances": [{"b64": "!"}]}, 400, "not Base64"),
        "a number for a file": ({**files, "instances": [1]}, 400, "bytes as"),
        "no image": ({**files, "instances": [b64(b"hello")]}, 400, "Expected a JPEG, PNG, GIF, BMP or WebP image"),
        "truncated JPEG": ({**files, "instances": [b64(jpeg[:len(jpeg) // 2])]}, 400, ""),
        "bomb": ({**files, "instances": [b64(bomb())]}, 400, "at most 25,000,000 pixels. Received: 30,000 x 30,000"),
        "long": (b" " * 100_000_000, 413, "at most 2,000,000 bytes"),
        "long, unannounced": ((b" " * 100_000 for _ in range(100)), 413, "at most 2,000,000 bytes"),
    }
