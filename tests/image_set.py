"""Several hundred small image files of every kind that decoders differ on, and Pillow's reading."""
import io
import itertools
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageOps, PngImagePlugin

_ORIENTATION = 0x0112
SIZES = ((1, 1), (7, 5), (33, 21))  # width, height


def picture(size, mode="RGB", seed=0):
    """A picture with every level of its channels, in `mode`."""
    numbers = np.random.default_rng([seed, *size])
    bands = {"RGBA": 4, "CMYK": 4, "LA": 2}.get(mode, 3)
    values = numbers.integers(0, 256, (3, 4, bands), "uint8")
    channels = [Image.fromarray(values[..., band]).resize(size, Image.Resampling.BILINEAR)
                for band in range(bands)]
    made = Image.merge(mode if bands != 3 else "RGB", channels)
    return made if made.mode == mode else made.convert(mode)


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def reading(data, background="white"):
    """What Pillow reads, upright and over `background`: uint8 (height, width, 3)."""
    with Image.open(io.BytesIO(data)) as image:
        if image.mode.startswith("I"):  # convert would clip to 255
            image.load()
            orientation = image.getexif()
            grey = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
            grey.info["exif"] = orientation.tobytes()
            image = grey
        image = ImageOps.exif_transpose(image).convert("RGBA")
    below = Image.new("RGBA", image.size, ImageColor.getrgb(background))
    return np.asarray(Image.alpha_composite(below, image).convert("RGB"))


# EXIF

def tiff(value, big=False, kind=3, first=(), thumbnail=None, count=1, long_before=0):
    """EXIF data: a directory with an orientation, None for none, and perhaps a thumbnail's."""
    order = ">" if big else "<"

    def directory(entries, following):
        fields = b""
        for tag, type_, number, content in entries:
            fields += struct.pack(order + "HHI", tag, type_, number)
            code = {1: "B3x", 3: "H2x", 4: "I", 6: "b3x", 8: "h2x", 9: "i", 13: "I"}[type_]
            fields += struct.pack(order + code, content)
        return struct.pack(order + "H", len(entries)) + fields + struct.pack(order + "I", following)
    entries = [(0x0100, 4, 1, 9), *first]
    if value is not None:
        entries.append((_ORIENTATION, kind, count, value))
    start = 8 + long_before
    after = start + 6 + 12 * len(entries)
    head = (b"MM\0*" if big else b"II*\0") + struct.pack(order + "I", start) + bytes(long_before)
    second = b"" if thumbnail is None else directory([(_ORIENTATION, 3, 1, thumbnail)], 0)
    return head + directory(entries, after if second else 0) + second


def exifs():
    """{name: EXIF data}; Pillow reads all of them."""
    made = {f"{value} {'big' if big else 'little'}": tiff(value, big)
            for value in (1, 2, 3, 4, 5, 6, 7, 8) for big in (False, True)}
    made |= {f"type {kind} {'big' if big else 'little'}": tiff(6, big, kind)
             for kind in (1, 4, 6, 8, 9, 13) for big in (False, True)}
    return made | {"0": tiff(0), "9": tiff(9), "none": tiff(None),
                   "thumbnail only": tiff(None, thumbnail=6), "thumbnail too": tiff(3, thumbnail=6),
                   "far": tiff(8, long_before=20_000), "long": tiff(6) + bytes(15_000),
                   "twice": b"Exif\0\0" + tiff(6),
                   "first counts": tiff(6, first=[(_ORIENTATION, 3, 1, 8)])}


def broken_exifs():
    """{name: EXIF data} that Pillow raises errors at, or warns of; the picture is upright."""
    return {"nonsense": b"nonsense", "short": b"II*\0", "no directory": b"II*\0\xff\xff\0\0",
            "cut": b"II*\0\x08\0\0\0\xff\xff\x12\x01", "empty": b"",
            "loop": tiff(None)[:4] + struct.pack("<I", 2**31)}


def xmp(orientation, element=False):
    inside = (f"<rdf:Description><tiff:Orientation>{orientation}</tiff:Orientation>"
              "</rdf:Description>" if element
              else f'<rdf:Description tiff:Orientation="{orientation}"/>')
    return (f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>{inside}</rdf:RDF></x:xmpmeta>'
            + " " * 5000 + "\xe9").encode()


# JPEG

def segment(marker, content):
    return struct.pack(">HH", marker, len(content) + 2) + content


def jpeg_with(data, *segments):
    """Put segments before all others of a JPEG."""
    return data[:2] + b"".join(segments) + data[2:]


def without_adobe(data):
    start = data.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", data, start + 2)
    return data[:start] + data[start + 2 + length:]


def jpegs():
    made = {}
    for size, mode in itertools.product(SIZES, ("L", "RGB")):
        for quality, sampling, progressive in ((50, 2, False), (95, 0, True), (75, 1, False)):
            options = {} if mode == "L" else {"subsampling": sampling}
            made[f"{mode} {size} {quality}"] = encoded(
                picture(size, mode), "JPEG", quality=quality, progressive=progressive, **options)
    plain = encoded(picture((33, 21)), "JPEG")

    def app1(content):
        return segment(0xFFE1, b"Exif\0\0" + content)
    for name, content in {**exifs(), **broken_exifs()}.items():
        made[f"exif {name}"] = jpeg_with(plain, app1(content))
    adobe = segment(0xFFE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(8))
    before = {"photoshop": segment(0xFFED, b"Photoshop 3.0\0" + bytes(9000)),
              "icc": segment(0xFFE2, b"ICC_PROFILE\0\1\1" + bytes(60_000)), "xmp": adobe,
              "many": b"".join(segment(0xFFED, bytes(50_000)) for _ in range(4)),
              "comment": segment(0xFFFE, b"Exif\0\0 orientation"), "filled": b"\xff\xff\xff"}
    for (name, parts), value in itertools.product(before.items(), (3, 6)):
        made[f"{name} before exif {value}"] = jpeg_with(plain, parts, app1(tiff(value)))
    made["xmp alone"] = jpeg_with(plain, adobe)
    made["xmp element"] = jpeg_with(plain, segment(
        0xFFE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(5, element=True)))
    made["xmp and exif without it"] = jpeg_with(plain, adobe, app1(tiff(None)))
    made["exif in two segments"] = jpeg_with(plain, app1(tiff(8, long_before=60_000)[:50_000]),
                                             app1(tiff(8, long_before=60_000)[50_000:]))
    made["two exif segments"] = jpeg_with(plain, app1(tiff(3)), app1(tiff(6)))
    made["exif after the scan"] = plain[:-2] + app1(tiff(6)) + plain[-2:]
    made["another picture behind"] = plain + jpeg_with(plain, app1(tiff(6)))
    made["cut short"] = plain[:-40]
    made["restart markers"] = encoded(picture((33, 21)), "JPEG", restart_marker_blocks=1)
    made["RGB inside"] = encoded(picture((33, 21)), "JPEG", keep_rgb=True)
    made["coarse"] = encoded(picture((33, 21)), "JPEG", quality=1)
    made["several pictures"] = encoded(picture((33, 21)), "MPO", save_all=True,
                                       append_images=[picture((33, 21), seed=1)])
    for size in SIZES:
        ink = encoded(picture(size, "CMYK"), "JPEG", quality=95)
        made[f"CMYK {size}"], made[f"CMYK without Adobe {size}"] = ink, without_adobe(ink)
    return made


# PNG

def chunk(kind, content):
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(
        ">I", zlib.crc32(kind + content))


def raw_png(width, height, depth, colour, rows, *chunks, interlace=0):
    """A PNG of rows of bytes, which begin with the number of their filter."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks)
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def deep_png(pixels, *chunks):
    """A PNG of 16 bits, of uint16 pixels (height, width, 1 to 4 channels)."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return raw_png(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows, *chunks)


def interlaced_png(image):
    """The PNG of an RGBA picture in the seven passes of Adam7."""
    pixels, rows = np.asarray(image), b""
    for top, left, down, right in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4),
                                   (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)):
        part = pixels[top::down, left::right]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    return raw_png(*image.size, 8, 6, rows, interlace=1)


def png_with(data, *chunks, last=False):
    """Put chunks behind the header of a PNG, or before its end."""
    at = len(data) - 12 if last else 33
    return data[:at] + b"".join(chunks) + data[at:]


def raw_profile(content):
    """The text chunk in which ImageMagick keeps EXIF data."""
    digits = (b"Exif\0\0" + content).hex()
    lines = "\n".join(digits[i:i + 72] for i in range(0, len(digits), 72))
    return f"\nexif\n{len(digits) // 2:8}\n{lines}\n".encode()


def pngs():
    made = {}
    for size, mode in itertools.product(SIZES, ("1", "L", "LA", "P", "RGB", "RGBA")):
        made[f"{mode} {size}"] = encoded(picture(size, mode), "PNG")
    for size, bits in itertools.product(SIZES, (1, 2, 4)):
        few = picture(size).quantize(1 << bits)
        made[f"palette of {bits} bits {size}"] = encoded(few, "PNG", bits=bits)
        made[f"transparent index of {bits} bits {size}"] = encoded(few, "PNG", bits=bits,
                                                                   transparency=0)
        alphas = bytes(range(0, 256, 256 >> bits))
        made[f"alphas of {bits} bits {size}"] = encoded(few, "PNG", bits=bits, transparency=alphas)
        width, height = size
        row = b"\0" + bytes(range(1, 200))[:(width * bits + 7) // 8]
        made[f"grey of {bits} bits {size}"] = raw_png(*size, bits, 0, row * height)
        made[f"grey key of {bits} bits {size}"] = raw_png(*size, bits, 0, row * height,
                                                          chunk(b"tRNS", b"\0\1"))
    for size in SIZES:
        grey, colours = picture(size, "L"), picture(size)
        made[f"grey key {size}"] = encoded(grey, "PNG", transparency=grey.getpixel((0, 0)))
        made[f"colour key {size}"] = encoded(colours, "PNG", transparency=colours.getpixel((0, 0)))
        made[f"interlaced {size}"] = interlaced_png(picture(size, "RGBA"))
        ink = Image.new("RGBA", size)
        ink.putalpha(grey)
        made[f"ink in alpha {size}"] = encoded(ink, "PNG")
        for channels in (1, 2, 3, 4):
            deep = np.random.default_rng(channels).integers(
                0, 65536, (*size[::-1], channels), "uint16")
            if size == (1, 1):
                deep |= 0x8000
            made[f"16 bits {channels} channels {size}"] = deep_png(deep)
            made[f"12 bits {channels} channels {size}"] = deep_png(deep >> 4)
        made[f"16 bits, ink in alpha {size}"] = deep_png(np.dstack([0 * deep[..., :3],
                                                                    deep[..., 3]]))
        made[f"16 bits key {size}"] = deep_png(deep[..., :1], chunk(b"tRNS", b"\x80\0"))
    plain, text = encoded(picture((33, 21), "RGBA"), "PNG"), chunk(b"tEXt", b"a\0" + b"b" * 9000)
    icc = PngImagePlugin.PngInfo()
    for name, content in {**exifs(), **broken_exifs()}.items():
        if content:
            made[f"exif {name}"] = png_with(plain, chunk(b"eXIf", content))
    for value, last in itertools.product((1, 3, 6, 8), (False, True)):
        exif = chunk(b"eXIf", tiff(value))
        made[f"text, exif {value} {last}"] = png_with(plain, text, exif, last=last)
        profile = b"Raw profile type exif\0"
        made[f"raw profile {value} {last}"] = png_with(
            plain, chunk(b"tEXt", profile + raw_profile(tiff(value))), last=last)
        made[f"zipped raw profile {value} {last}"] = png_with(
            plain, chunk(b"zTXt", profile + b"\0" + zlib.compress(raw_profile(tiff(value)))))
        description = b"XML:com.adobe.xmp\0"
        made[f"xmp {value} {last}"] = png_with(
            plain, chunk(b"iTXt", description + bytes(4) + xmp(value)[:-2]), last=last)
        made[f"zipped xmp {value} {last}"] = png_with(
            plain, chunk(b"iTXt", description + b"\1\0\0\0" + zlib.compress(xmp(value))), last=last)
    made["two exif chunks"] = png_with(plain, chunk(b"eXIf", tiff(3)), chunk(b"eXIf", tiff(6)))
    made["exif on either side"] = png_with(made["exif 3 little"], chunk(b"eXIf", tiff(8)),
                                           last=True)
    made["gamma and colour space"] = png_with(
        plain, chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"sRGB", b"\0"))
    idat = plain.index(b"IDAT") - 4
    made["pixels in many chunks"] = (
        plain[:idat] + b"".join(chunk(b"IDAT", plain[i:min(i + 9, len(plain) - 16)])
                                for i in range(idat + 8, len(plain) - 16, 9)) + plain[-12:])
    made["animated"] = encoded(picture((33, 21)), "PNG", save_all=True,
                               append_images=[picture((33, 21), seed=1)])
    made["index beyond the palette"] = raw_png(8, 1, 8, 3, b"\0" + bytes(range(8)),
                                               chunk(b"PLTE", bytes(range(9))))
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), "uint8")
    made["icc, exif"] = encoded(Image.fromarray(noise), "PNG", icc_profile=noise.tobytes(),
                                exif=b"Exif\0\0" + tiff(6), pnginfo=icc)
    description, profile = b"XML:com.adobe.xmp\0", b"Raw profile type exif\0"
    for name, content in {
            "exif": b"exif\0Exif\0\0" + tiff(6), "transparency": b"transparency\0a",
            "interlace": b"interlace\0a", "gamma": b"gamma\0a", "nothing": b"",
            "no profile": profile + b"zz", "xmp": description + xmp(6)}.items():
        made[f"text of {name}"] = png_with(plain, chunk(b"tEXt", content))
    for name, content in {
            "a name": b"a\0\0" + zlib.compress(bytes(2_000_000)), "damage": b"a\0\0zz",
            "no method": b"a\0", "a method": b"a\0\1zz",
            "no profile": profile + b"\0" + zlib.compress(bytes(2_000_000))}.items():
        made[f"zipped text of {name}"] = png_with(plain, chunk(b"zTXt", content))
    header = plain[8:33]
    made["header twice, damaged"] = png_with(plain, header)
    made["header behind a text, damaged"] = plain[:8] + text + plain[8:]
    made["two raw profiles"] = png_with(plain, *(chunk(
        b"tEXt", profile + raw_profile(tiff(value))) for value in (6, 3)))
    made["exif with a checksum that is wrong"] = png_with(
        plain, chunk(b"eXIf", tiff(6))[:-1] + b"\0")
    made["exif behind the end"] = plain + chunk(b"eXIf", tiff(6))
    for name, cut in {"cut short": lambda content: zlib.compress(content)[:-9],
                      "damaged": lambda content: b"x" + zlib.compress(content)}.items():
        made[f"zipped raw profile, {name}"] = png_with(
            plain, chunk(b"zTXt", profile + b"\0" + cut(raw_profile(tiff(6)))))
        made[f"zipped xmp, {name}"] = png_with(
            plain, chunk(b"iTXt", description + b"\1\0\0\0" + cut(xmp(6))))
    made["chunk with a wrong checksum"] = png_with(plain, text[:-1] + b"\0")
    for cut in (1, 12, 20, 60):
        made[f"cut by {cut}"] = plain[:-cut]
    made["pixels with a wrong checksum"] = plain[:-13] + b"\0" + plain[-12:]
    return made


# GIF

def gif(size, frames, palette=None, extensions=b"", end=b";"):
    """A GIF of frames (left, top, index picture, local palette or None, transparent index)."""
    flags = 0x70 | (128 | (len(palette) // 3).bit_length() - 2 if palette else 0)
    data = b"GIF89a" + struct.pack("<HHBBB", *size, flags, 0, 0) + (palette or b"") + extensions
    for left, top, indices, local, transparent in frames:
        if transparent is not None:
            data += b"!\xf9\4" + bytes([1, 0, 0, transparent]) + b"\0"
        own = 128 | (len(local) // 3).bit_length() - 2 if local else 0
        data += b"," + struct.pack("<HHHHB", left, top, *indices.size, own) + (local or b"")
        data += compressed(indices)
    return data + end


def compressed(indices):
    """The blocks of an index picture, which Pillow compresses."""
    made = encoded(indices, "GIF", optimize=False)
    start = made.index(b"\0,\0\0\0\0") + 11 if b"\0,\0\0\0\0" in made else None
    start = made.index(b",\0\0\0\0") + 10
    if made[start - 1] & 128:
        start += 3 * (2 << (made[start - 1] & 7))
    return made[start:-1]


def gifs():
    made = {}
    generator = np.random.default_rng(0)
    colours, others = (generator.integers(0, 256, 768, "uint8").tobytes() for _ in range(2))
    for size in SIZES:
        indices = Image.fromarray(generator.integers(0, 256, size[::-1], "uint8"))
        index = indices.getpixel((0, 0))
        for mode, interlace in itertools.product(("L", "P", "1"), (0, 1)):
            made[f"{mode} {size} {interlace}"] = encoded(picture(size, mode), "GIF",
                                                         interlace=interlace)
        for name, local, transparent in itertools.product((colours, None), (others, None),
                                                          (index, None)):
            made[f"{name and 1} {local and 1} {transparent} {size}"] = gif(
                size, [(0, 0, indices, local, transparent)], name)
        big = (size[0] + 9, size[1] + 4)
        for transparent in (index, 200, None):
            frame = (3, 2, indices, None, transparent)
            made[f"small frame {transparent} {size}"] = gif(big, [frame], colours)
            made[f"frame beyond {transparent} {size}"] = gif(size, [frame], colours)
        whole = Image.fromarray(generator.integers(0, 256, big[::-1], "uint8"))
        made[f"larger second frame {size}"] = gif(
            big, [(1, 1, indices, None, None), (0, 0, whole, others, index)], colours)
        made[f"comment {size}"] = gif(
            size, [(0, 0, indices, None, index)], colours,
            b"!\xfe" + b"\5hallo" * 100 + b"\0!\xff\x0bXMP DataXMP\3,;!\0")
        made[f"without its end {size}"] = gif(size, [(0, 0, indices, None, None)], colours, end=b"")
        made[f"few colours {size}"] = gif(
            size, [(0, 0, indices, None, None)], colours[:24])
    palette = picture(size).convert("P")
    made["87a"] = b"GIF87a" + encoded(palette, "GIF")[6:]
    made["interlaced, transparent"] = encoded(palette, "GIF", interlace=1, transparency=3)
    made["disposal"] = encoded(palette, "GIF", save_all=True, disposal=2, loop=0, duration=9,
                               append_images=[picture(size, seed=1).convert("P")])
    made["cut short"] = gif(size, [(0, 0, indices, None, None)], colours)[:-100]
    made["no frame"] = gif(size, [], colours)
    return made


# BMP

def bmp(size, bits, pixels, header=40, compression=0, palette=b"", colours=0, masks=(),
        down=False, offset=None):
    """A BMP of rows of bytes, those of the lowest row first unless `down`."""
    width, height = size
    if header == 12:
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", header, width, -height if down else height, 1, bits,
                           compression, len(pixels), 2835, 2835, colours, 0)
        head += struct.pack(f"<{len(masks)}I", *masks)
        head += bytes(max(header - len(head), 0))
    start = 14 + len(head) + len(palette) if offset is None else offset
    return struct.pack("<2sIHHI", b"BM", 0, 0, 0, start) + head + palette + pixels


_MASKS_32 = ((0xFF0000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0),
             (0xFF000000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
             (0xFF, 0xFF00, 0xFF0000, 0xFF000000), (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
             (0xFF000000, 0xFF00, 0xFF, 0xFF0000), (0, 0, 0, 0))


def bmps():
    made, generator = {}, np.random.default_rng(0)
    for size, mode in itertools.product(SIZES, ("1", "L", "P", "RGB", "RGBA")):
        made[f"{mode} {size}"] = encoded(picture(size, mode), "BMP")
    for size, bits, header, down in itertools.product(
            SIZES, (1, 4, 8, 16, 24, 32), (12, 40, 64, 108, 124), (False, True)):
        if header == 12 and (down or bits in (16, 32)):
            continue
        entry, count = 3 if header == 12 else 4, 1 << bits if bits <= 8 else 0
        palette = generator.integers(0, 256, entry * count, "uint8").tobytes()
        rows = generator.integers(0, 256, (size[0] * bits + 31) // 32 * 4 * size[1], "uint8")
        made[f"{bits} bits {header} {down} {size}"] = bmp(size, bits, rows.tobytes(), header,
                                                          palette=palette, down=down)
    size = SIZES[-1]
    rows32, rows16 = (generator.integers(0, 256, (size[0] * bits + 31) // 32 * 4 * size[1],
                                         "uint8").tobytes() for bits in (32, 16))
    for masks, header in itertools.product(_MASKS_32, (40, 52, 56, 108, 124)):
        names = masks[:3] if header < 56 else masks
        made[f"fields {header} {masks}"] = bmp(size, 32, rows32, header, 3, masks=names)
    for masks in ((0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F), (0xF00, 0xF0, 0xF)):
        made[f"fields of 16 bits {masks}"] = bmp(size, 16, rows16, 40, 3, masks=masks)
        made[f"fields of 16 bits 124 {masks}"] = bmp(size, 16, rows16, 124, 3, masks=masks)
    made["fields unknown"] = bmp(size, 32, rows32, 40, 3, masks=(0x3FF00000, 0xFFC00, 0x3FF))
    rows = generator.integers(0, 10, 36 * size[1], "uint8").tobytes()
    palette = generator.integers(0, 256, 40, "uint8").tobytes()
    ramp = np.repeat(np.arange(256, dtype="uint8"), 4).tobytes()
    made["ten colours"] = bmp(size, 8, rows, palette=palette, colours=10)
    made["grey ramp"] = bmp(size, 8, rows, palette=ramp)
    made["a gap before the pixels"] = bmp(size, 8, bytes(6) + rows, palette=ramp,
                                          offset=54 + 1024 + 6)
    made["offset of the palette"] = bmp(size, 8, rows, palette=ramp, offset=54)
    made["no offset"] = bmp(size, 8, rows, palette=ramp, offset=0)
    made["without the last padding"] = bmp(size, 8, rows[:-3], palette=ramp)
    made["bytes behind"] = encoded(picture(size), "BMP") + b"more" * 9
    made["cut short"] = bmp(size, 8, rows[:-4], palette=ramp)
    made["RLE8"] = bmp((8, 2), 8, b"\x08\1\0\0\x08\2\0\1", compression=1, palette=ramp)
    made["RLE4"] = bmp((8, 2), 4, b"\x08\x12\0\0\x08\x21\0\1", compression=2, palette=ramp[:64])
    made["a PNG inside"] = bmp((8, 2), 0, b"\x89PNG", compression=5)
    made["unknown header"] = bmp((8, 2), 8, rows, header=41, palette=ramp)
    return made


# WebP

def webp_with(data, *chunks):
    """Put chunks at the end of an extended WebP file."""
    data += b"".join(struct.pack("<4sI", kind, len(content)) + content + bytes(len(content) % 2)
                     for kind, content in chunks)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def webps():
    made = {}
    for size, mode, lossless in itertools.product(SIZES, ("RGB", "RGBA", "L"), (False, True)):
        made[f"{mode} {lossless} {size}"] = encoded(picture(size, mode), "WEBP", lossless=lossless)
    clear = Image.new("RGBA", (33, 21), (10, 20, 30, 0))
    made["all clear"] = encoded(clear, "WEBP", lossless=True, exact=True)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), "uint8"))
    for name, content in {**exifs(), **broken_exifs()}.items():
        if content:
            made[f"exif {name}"] = encoded(noise, "WEBP", exif=content)
    made["exif with a sign"] = encoded(noise, "WEBP", exif=b"Exif\0\0" + tiff(6))
    made["large, exif"] = encoded(noise, "WEBP", lossless=True, exif=tiff(6))
    made["icc, exif"] = encoded(noise, "WEBP", icc_profile=bytes(9001), exif=tiff(6))
    made["alpha, exif"] = encoded(picture((33, 21), "RGBA"), "WEBP", exif=tiff(8))
    for value in (1, 3, 6):
        made[f"xmp {value}"] = encoded(noise, "WEBP", xmp=xmp(value))
    for mode in ("RGB", "RGBA"):
        made[f"animated {mode}"] = encoded(picture((33, 21), mode), "WEBP", save_all=True,
                                           append_images=[picture((33, 21), mode, seed=1)])
    made["nearly lossless"] = encoded(picture((33, 21), "RGBA"), "WEBP", lossless=True, quality=30)
    made["coarse alpha"] = encoded(picture((33, 21), "RGBA"), "WEBP", alpha_quality=10, quality=20)
    made["palette"] = encoded(picture((33, 21)).quantize(4).convert("RGB"), "WEBP", lossless=True)
    made["bytes behind"] = encoded(noise, "WEBP") + b"more"
    made["cut short"] = encoded(noise, "WEBP")[:-10]
    return made


def others():
    return {"empty": b"", "text": b"no picture", "nulls": bytes(400), "B": b"B", "BM": b"BM",
            "GIF": b"GIF89a", "RIFF": b"RIFF\0\0\0\0WEBPVP8X", "PNG": b"\x89PNG\r\n\x1a\n",
            "JPEG": b"\xff\xd8\xff", "TIFF": encoded(picture((7, 5)), "TIFF"),
            "QOI": b"qoif", "PDF": b"%PDF-1.4", "web page": b"<html>404</html>",
            "vectors": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            "bytes before a JPEG": b"xx" + encoded(picture((7, 5)), "JPEG"),
            **{kind: encoded(picture((7, 5)), kind) for kind in ("ICO", "PPM", "TGA", "JPEG2000")},
            "GIF of tomorrow": b"GIF99a" + bytes(100)}


def imagemagick():
    """{name: bytes} of the files that data/imagemagick/make.sh wrote."""
    kinds = {".jpg": "JPEG", ".webp": "WebP"}
    with zipfile.ZipFile(Path(__file__).parent / "data/imagemagick/files.zip") as files:
        return {f"{kinds.get(suffix, suffix[1:].upper())} {name}, ImageMagick": files.read(path)
                for path in files.namelist() for name, suffix in [os.path.splitext(path)]}


def image_set():
    """Return {name: the bytes of a file} of all kinds, made by Pillow, bytes, and ImageMagick."""
    return imagemagick() | {
        f"{kind} {name}": data
        for kind, make in (("JPEG", jpegs), ("PNG", pngs), ("GIF", gifs), ("BMP", bmps),
                           ("WebP", webps), ("other", others))
        for name, data in make().items()}
