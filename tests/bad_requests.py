"""Requests that a server has to reject: not JSON, of the wrong shape, too large, no image."""
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


def bomb(width, height):
    """Return a PNG file of that many pixels according to its header."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
              b"IDAT" + zlib.compress(bytes(1000)))
    packed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
              for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def gif(*sides):
    """Return a GIF file with a square frame for each of `sides` according to its headers.

    A comment stands between the frames.
    """
    frames = (b"," + struct.pack("<4HB", 0, 0, side, side, 0) + b"\2\3\1\2\3\0" for side in sides)
    head = b"GIF89a" + struct.pack("<HHBBB", sides[0], sides[0], 128, 0, 0) + bytes(6)
    return head + b"!\xfe\2so\0".join(frames) + b";"


def bad_requests(image):
    """Return {name: (body, status, words of the error)}.

    Args:
        image: an image of the network's shape, uint8 (32, 32, 1).
    """
    files = {"signature_name": "from_bytes"}
    jpeg = encoded(np.kron(image, np.ones((8, 8, 1), "uint8")), "JPEG")
    truncated = b64(jpeg[:len(jpeg) // 2])
    blank, small = np.zeros((32, 32, 1)).tolist(), b64(encoded(image[:1, :1]))
    strings = np.full((32, 32, 1), "1").tolist()
    large = np.full((1, 32, 32, 1), 1e300).tolist()
    nan = np.full((1, 32, 32, 1), np.nan).tolist()
    return {
        "not JSON": (b"{instances", 400, "not JSON"),
        "no object": ([1], 400, "Expected a JSON object"),
        "deep": (b'{"instances": ' + b"[" * 100_000, 400, "not JSON"),
        "wrong key": ({"instance": [blank]}, 400, "Did you mean 'instances'?"),
        "both formats": ({"instances": [blank], "inputs": [blank]}, 400, "either"),
        "nothing": ({"instances": []}, 400, "of shape (batch, 32, 32, 1). Received: (0,)"),
        "no list": ({"instances": 3}, 400, "Expected a list of rows"),
        "wrong shape": ({"instances": [[1, 2]]}, 400,
                        "of shape (batch, 32, 32, 1). Received: (1, 2)"),
        "rows differ": ({"instances": [blank, [1]]}, 400, "its rows differ"),
        "strings": ({"instances": [strings]}, 400, "float32 numbers only"),
        "null": ({"instances": [None]}, 400, "float32 numbers only"),
        "too large a number": ({"instances": large}, 400, "finite"),
        "NaN": (json.dumps({"instances": nan}).encode(), 400, "NaN"),
        "0 to 1": ({"instances": [(image / 255).tolist()]}, 400,
                   "expected 0 to 255: multiply them by 255"),
        "-1 to 1": ({"inputs": [(image / 127.5 - 1).tolist()], "signature_name": "features"}, 400,
                    "image has values from -1 to"),
        "wrong input": ({"instances": [{"imag": blank}]}, 400, "Did you mean 'image'?"),
        "rows of other names": ({"instances": [{"image": blank}, {}]}, 400, "the same inputs"),
        "wrong signature": ({"signature_name": "from_byte", "instances": [1]}, 400,
                            "Did you mean 'from_bytes'?"),
        "no signature": ({"signature_name": ["x"], "instances": [1]}, 400, "signature"),
        "no Base64": ({**files, "instances": [{"b64": "!"}]}, 400, "not Base64"),
        "a number for a file": ({**files, "instances": [1]}, 400, "bytes as"),
        "no image": ({**files, "instances": [b64(b"hello")]}, 400,
                     "Expected a JPEG, PNG, GIF, BMP or WebP image"),
        "truncated JPEG": ({**files, "instances": [truncated]}, 400, "or damaged"),
        "strings of several shapes": ({**files, "instances": [["a", "b"], ["c"]]}, 400,
                                      "its rows differ"),
        "deep strings": (b'{"signature_name": "from_bytes", "inputs": ' + b"[" * 1000 + b'"a"'
                         + b"]" * 1000 + b"}", 400, "its rows differ"),
        "no maps": ({"signature_name": "stages", "instances": [truncated]}, 400, "or damaged"),
        "bomb": ({**files, "instances": [b64(bomb(30_000, 30_000))]}, 400,
                 "at most 25,000,000 pixels. Received: 30,000 x 30,000"),
        "thin bomb": ({**files, "instances": [b64(bomb(1_000_000, 1))]}, 400,
                      "65,535 pixels a side. Received: 1,000,000 x 1"),
        "second frame": ({**files, "instances": [b64(gif(8, 12_000))]}, 400,
                         "Received: 12,000 x 12,000, in all frames"),
        "many frames": ({**files, "instances": [b64(gif(*[4_000] * 9))]}, 400,
                        "4,000 x 4,000, in all frames 144,000,000"),
        "many rows": ({**files, "instances": [small] * 5_000}, 413, "at most 4,096 rows"),
        "a large response": ({"signature_name": "stages", "instances": [small] * 3_000}, 413,
                             "Received: 3,000"),
        "long": (b" " * 100_000_000, 413, "at most 2,000,000 bytes"),
        "long, unannounced": ((b" " * 100_000 for _ in range(100)), 413,
                              "at most 2,000,000 bytes"),
    }
