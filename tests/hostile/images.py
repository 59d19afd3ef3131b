"""Pictures that are not what their name says, or hold more than one thing, or less than one."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from medclip_nb.data.preprocessing import cached, picture_contract, preprocess
from medclip_nb.data.readers import read_image

from . import Kind
from .make import GREY, content, cut, interlaced, picture, table
from .outcome import command

NOISE = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
FRAMES = [Image.fromarray(GREY + 20 * k) for k in range(3)]
ANIMATED = {"save_all": True, "append_images": FRAMES[1:]}
PALETTE = Image.fromarray(GREY % 2).convert("P")
PALETTE.putpalette([10, 10, 10, 250, 250, 250])
RGBA = np.dstack([np.full((8, 12, 3), 200, np.uint8), np.where(GREY < 48, 255, 0).astype(np.uint8)])


def turned(folder: Path) -> Path:
    """A camera's picture, dark above, that is to be turned clockwise."""
    upright, exif = Image.new("L", (16, 32), 255), Image.Exif()
    upright.paste(0, (0, 0, 16, 16))
    exif[0x0112] = 6
    return picture(folder, upright, "a.jpg", exif=exif)


def bomb(folder: Path) -> Path:
    """A small file that claims 50,000 x 50,000 pixels."""
    import struct
    import zlib

    raw = bytearray(picture(folder).read_bytes())
    raw[16:24] = struct.pack(">II", 50_000, 50_000)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    return content(folder, "a.png", bytes(raw))


def spoilt(folder: Path) -> Path:
    """One bit of the pixels is not as it was written."""
    raw = bytearray(picture(folder, NOISE).read_bytes())
    raw[len(raw) // 2] ^= 1
    return content(folder, "a.png", bytes(raw))


def link(folder: Path, target: str) -> Path:
    """A symbolic link of that name."""
    (folder / "a.png").symlink_to(target)
    return folder / "a.png"


def pipe(folder: Path) -> Path:
    """What is neither a file nor a folder: reading it waits for ever."""
    os.mkfifo(folder / "a.png")
    return folder / "a.png"


def folder_named_png(folder: Path) -> Path:
    """A folder that is called like a picture."""
    (folder / "a.png").mkdir()
    return folder / "a.png"


def outside(folder: Path) -> Path:
    """A table whose image lies beyond its folder, behind a link."""
    inside = folder / "data"
    inside.mkdir()
    (inside / "a.png").symlink_to(picture(folder, name="b.png"))
    return table(inside, "a.png")


def same(expected: np.ndarray):
    """Asks whether the image has just these values."""
    return lambda image: np.array_equal(image.array[0], expected)


def prepared(path: Path) -> np.ndarray:
    """What a network would see of it."""
    return preprocess(read_image(path), picture_contract(32))


READ = {  # refused by read_image
    "truncated PNG": (r"a\.png: cannot be read as a picture .*; copy it anew", lambda f: cut(picture(f, NOISE))),
    "truncated JPEG": (r"a\.jpg: cannot be read as a picture", lambda f: cut(picture(f, NOISE, "a.jpg"))),
    "PNG with a wrong checksum": (r"a\.png: cannot be read as a picture", spoilt),
    "zero bytes": (r"a\.png: cannot be read as a picture", lambda f: content(f, "a.png", b"")),
    "decompression bomb": (r"a\.png: .*decompression bomb", bomb),
    "animated GIF named .png": (
        r"a\.png: holds 3 pictures \(GIF\); save",
        lambda f: picture(f, FRAMES[0], format="GIF", **ANIMATED),
    ),
    "animated PNG": (r"a\.png: holds 3 pictures \(PNG\); save", lambda f: picture(f, FRAMES[0], **ANIMATED)),
    "TIFF of several pages": (r"a\.png: holds 3 pictures \(TIFF\)", lambda f: picture(f, FRAMES[0], format="TIFF", **ANIMATED)),
    "PostScript, a program": (r"a\.png: cannot be read as a picture", lambda f: picture(f, format="EPS")),
    "TIFF": (r"a\.tif: unknown kind of image; known: \.png.*convert it", lambda f: picture(f, name="a.tif")),
    "BMP": (r"a\.bmp: unknown kind of image", lambda f: picture(f, name="a.bmp")),
    "WebP": (r"a\.webp: unknown kind of image", lambda f: picture(f, name="a.webp")),
    "animated GIF": (r"a\.gif: unknown kind of image", lambda f: picture(f, FRAMES[0], "a.gif", **ANIMATED)),
    "NaN in a TIFF named .png": (
        r"a\.png: holds 4 voxels that are NaN",
        lambda f: picture(f, np.full((2, 2), np.nan, np.float32), format="TIFF"),
    ),
    "folder named .png": (r"a\.png: holds no DICOM image; name the file", folder_named_png),
    "pipe": (r"a\.png: is neither a file nor a folder", pipe),
    "link to nowhere": (r"a\.png: no such image file", lambda f: link(f, "gone.png")),
    "link to itself": (r"a\.png: no such image file", lambda f: link(f, "a.png")),
    "name too long": (r"aaa\.png: cannot be read .*name too long", lambda f: f / ("a" * 300 + ".png")),
}
COMMANDS = {  # refused by a command
    "text file named .png": (
        r"a\.png: cannot be read as a picture",
        lambda f: command("data", "check", content(f, "a.png")),
    ),
    "truncated PNG in a table": (
        r"texts\.csv: row 2, column 'image': .*a\.png: cannot be read as a picture",
        lambda f: command("data", "check", table(cut(picture(f, NOISE)).parent, "a.png"), "--images"),
    ),
    "truncated PNG in training": (
        r"a\.png: cannot be read as a picture",
        lambda f: command("train", table(cut(picture(f, NOISE)).parent, "a.png"), "--preset", "smoke"),
    ),
    "link out of the folder": (
        r"row 2, column 'image': 'a\.png' leaves the manifest's folder",
        lambda f: command("data", "check", outside(f)),
    ),
    "image that is not there": (
        r"row 2, column 'image': 'a\.png' does not exist under",
        lambda f: command("data", "check", table(f, "a.png")),
    ),
    "pipe in a table": (
        r"row 2, column 'image': 'a\.png' is neither a file nor a folder",
        lambda f: command("data", "check", table(pipe(f).parent, "a.png"), "--images"),
    ),
}
REPAIRED = {  # read_image gives just these values
    "16-bit PNG": ("all 16 bits kept", lambda f: picture(f, GREY.astype(np.uint16) * 600), GREY * 600.0),
    "1-bit PNG": ("black is 0, white 255", lambda f: picture(f, GREY > 50), (GREY > 50) * 255),
    "palette PNG": ("colours, not their numbers", lambda f: picture(f, PALETTE), np.where(GREY % 2, 250, 10)),
    "RGBA PNG": ("transparent is black", lambda f: picture(f, RGBA), np.where(GREY < 48, 200, 0)),
    "transparent grey in a 16-bit PNG": (
        "black, all other values kept",
        lambda f: picture(f, GREY.astype(np.uint16) * 600 + 7, transparency=607),
        np.where(GREY == 1, 0, GREY * 600.0 + 7),
    ),
    "interlaced PNG": ("as without interlacing", interlaced, GREY),
    "BMP named .png": ("by its content", lambda f: picture(f, format="BMP"), GREY),
    "still GIF named .jpg": ("by its content", lambda f: picture(f, name="a.jpg", format="GIF"), GREY),
    "suffix in capitals": ("known", lambda f: picture(f, name="A.PNG"), GREY),
    "1 x 1 image": ("one pixel", lambda f: picture(f, GREY[:1, 5:6]), GREY[:1, 5:6]),
    "CMYK JPEG": ("no ink is white", lambda f: picture(f, Image.new("CMYK", (12, 8)), "a.jpg"), np.full((8, 12), 255)),
}

KINDS = [
    *(Kind("picture", k, says, lambda f, make=make: read_image(make(f))) for k, (says, make) in READ.items()),
    *(Kind("picture", k, says, act) for k, (says, act) in COMMANDS.items()),
    *(Kind("picture", k, says, lambda f, make=make: read_image(make(f)), same(v)) for k, (says, make, v) in REPAIRED.items()),
    Kind(
        "picture", "pipe in the cache", r"a\.png: is neither a file nor a folder", lambda f: cached(pipe(f), picture_contract(8))
    ),
    Kind(
        "picture",
        "extreme aspect ratio",
        r"a picture of 1 x 65000 pixels is no more than a line",
        lambda f: prepared(picture(f, Image.new("L", (65_000, 1)))),
    ),
    Kind(
        "picture",
        "turned by EXIF",
        "the dark end lies on the right, as a viewer shows it",
        lambda f: read_image(turned(f)).array[0],
        lambda a: a.shape == (16, 32) and a[:, 20:].max() < 10 and a[:, :12].min() > 245,
    ),
    Kind(
        "picture",
        "constant image",
        "one grey, no division by zero",
        lambda f: prepared(picture(f, Image.new("L", (9, 9), 7))),
        lambda a: a.shape == (1, 1, 32, 32) and len(np.unique(a)) == 1,
    ),
    Kind(
        "picture",
        "truncated PNG in an audit",
        "a serious finding that names the row and why",
        lambda f: command("data", "audit", table(cut(picture(f, NOISE)).parent, "a.png"), "-o", f / "page.html"),
        lambda said: "serious: 1" in said and "unreadable" in said and "cannot be read as a picture" in said and "a.png" in said,
    ),
    Kind(
        "picture",
        "constant image in an audit",
        "found",
        lambda f: command("data", "audit", table(picture(f, Image.new("L", (30, 30), 7)).parent, "a.png"), "-o", f / "page.html"),
        lambda said: "a.png" in said and "constant" in said,
    ),
]
