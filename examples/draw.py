"""Draw the five pictures of this folder: ``python examples/draw.py`` (Pillow).

Each is drawn eight times as large, and then reduced to 32 x 32, as CIFAR-10's pictures are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["PICTURES", "reduced"]

SIZE = 256
HERE = Path(__file__).parent


def ground(top: tuple[int, int, int], bottom: tuple[int, int, int], seed: int) -> Image.Image:
    """Return a background that goes from one colour to another, with some grain."""
    rng = np.random.default_rng(seed)
    share = np.linspace(0, 1, SIZE)[:, None, None]
    plain = (1 - share) * np.array(top) + share * np.array(bottom)
    grain = rng.normal(0, 14, (SIZE // 16, SIZE // 16)).repeat(16, 0).repeat(16, 1)
    pixels = np.broadcast_to(plain, (SIZE, SIZE, 3)) + grain[..., None]
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return picture.filter(ImageFilter.GaussianBlur(10))


def airplane() -> Image.Image:
    """Return an airliner in the sky, from the side."""
    picture = ground((90, 140, 205), (170, 200, 230), 1)
    draw = ImageDraw.Draw(picture)
    draw.polygon([(36, 118), (20, 72), (44, 72), (74, 112)], (205, 210, 218))
    draw.ellipse((24, 104, 236, 144), (232, 235, 240))
    draw.rectangle((60, 128, 214, 134), (150, 158, 172))
    draw.polygon([(112, 128), (150, 128), (96, 196), (76, 196)], (180, 186, 196))
    draw.polygon([(120, 108), (150, 108), (128, 66), (114, 66)], (196, 202, 210))
    draw.ellipse((104, 158, 136, 174), (120, 126, 138))
    for x in range(84, 204, 12):
        draw.rectangle((x, 116, x + 5, 122), (70, 82, 104))
    draw.polygon([(216, 112), (230, 118), (214, 120)], (50, 60, 80))
    return picture


def automobile() -> Image.Image:
    """Return a red car on a road, from the side."""
    picture = ground((196, 206, 214), (172, 178, 176), 2)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 176, SIZE, SIZE), (104, 104, 108))
    draw.ellipse((20, 186, 236, 210), (62, 62, 66))
    draw.polygon(
        [(18, 186), (14, 142), (56, 128), (88, 90), (164, 90), (202, 130), (240, 142), (242, 186)],
        (186, 24, 30),
    )
    draw.polygon([(70, 128), (94, 98), (122, 98), (122, 128)], (52, 66, 82))
    draw.polygon([(130, 98), (160, 98), (186, 128), (130, 128)], (52, 66, 82))
    draw.rectangle((18, 152, 240, 158), (140, 16, 22))
    draw.ellipse((222, 142, 240, 154), (250, 240, 190))
    for x in (44, 172):
        draw.ellipse((x, 158, x + 46, 204), (26, 26, 28))
        draw.ellipse((x + 13, 171, x + 33, 191), (176, 180, 186))
    return picture


def ship() -> Image.Image:
    """Return a freighter at sea."""
    picture = ground((150, 186, 214), (198, 212, 222), 3)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 172, SIZE, SIZE), (38, 78, 118))
    for y, x in ((186, 12), (206, 96), (226, 30), (216, 190), (238, 140)):
        draw.line((x, y, x + 60, y), (66, 108, 148), 5)
    draw.polygon([(10, 136), (248, 136), (222, 184), (36, 184)], (44, 48, 62))
    draw.polygon([(30, 172), (230, 172), (222, 184), (36, 184)], (150, 40, 36))
    draw.rectangle((150, 84, 206, 136), (236, 236, 232))
    draw.rectangle((162, 60, 186, 84), (206, 70, 40))
    for x in range(156, 200, 12):
        draw.rectangle((x, 96, x + 6, 104), (60, 78, 100))
    for x, colour in ((40, (190, 120, 40)), (76, (60, 110, 90)), (112, (150, 60, 60))):
        draw.rectangle((x, 108, x + 32, 136), colour)
    draw.line((128, 108, 128, 50), (90, 92, 98), 5)
    return picture


def truck() -> Image.Image:
    """Return a lorry on a road, from the side."""
    picture = ground((200, 212, 224), (188, 190, 180), 4)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 190, SIZE, SIZE), (116, 112, 106))
    draw.rectangle((10, 64, 166, 176), (228, 228, 222))
    draw.rectangle((10, 64, 166, 74), (190, 190, 186))
    draw.rectangle((10, 168, 166, 178), (60, 60, 64))
    draw.polygon(
        [(174, 178), (174, 88), (216, 88), (240, 130), (246, 136), (246, 178)], (30, 76, 150)
    )
    draw.polygon([(188, 100), (212, 100), (230, 130), (188, 130)], (150, 176, 196))
    draw.rectangle((228, 150, 246, 160), (240, 228, 170))
    for x in (22, 66, 190):
        draw.ellipse((x, 160, x + 44, 204), (24, 24, 26))
        draw.ellipse((x + 14, 174, x + 30, 190), (150, 154, 160))
    return picture


def horse() -> Image.Image:
    """Return a brown horse on grass, from the side."""
    picture = ground((160, 196, 226), (196, 214, 214), 5)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 158, SIZE, SIZE), (96, 140, 62))
    brown, dark = (112, 66, 34), (56, 34, 20)
    for x in (72, 94, 158, 180):
        draw.polygon([(x, 150), (x + 18, 150), (x + 13, 226), (x + 3, 226)], dark)
    draw.ellipse((58, 92, 206, 168), brown)
    draw.polygon([(164, 116), (198, 58), (222, 66), (208, 140)], brown)
    draw.polygon([(196, 52), (220, 50), (248, 88), (238, 100), (208, 84)], brown)
    draw.polygon([(200, 54), (204, 38), (212, 52)], dark)
    draw.polygon([(190, 58), (202, 52), (176, 116), (164, 110)], dark)
    draw.polygon([(64, 108), (48, 118), (40, 178), (54, 176), (72, 126)], dark)
    return picture


PICTURES = (airplane, automobile, ship, truck, horse)


def reduced(picture: Image.Image) -> Image.Image:
    """Return a picture of 32 x 32 pixels."""
    smooth = picture.filter(ImageFilter.GaussianBlur(2))
    return smooth.resize((32, 32), Image.Resampling.BOX)


def main() -> None:
    """Write the pictures."""
    for one in PICTURES:
        reduced(one()).save(HERE / f"{one.__name__}.png")


if __name__ == "__main__":
    main()
