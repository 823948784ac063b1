"""``python -m mandelbrot [--width N] [--height N] [--iterations N] [--out FILE.png]``"""

import argparse
import hashlib

from mandelbrot.fractal import render

SHADES = " .:-=+*#%@"


def size(text: str) -> int:
    """A whole number from 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def preview(rows: list[bytes], columns: int = 72) -> list[str]:
    """The picture in letters, which are about twice as high as wide."""
    width = len(rows[0]) // 3
    columns = min(columns, width)
    lines = max(1, len(rows) * columns // (2 * width))
    return [
        "".join(
            SHADES[sum(rows[line * len(rows) // lines][pixel : pixel + 3]) * len(SHADES) // 766]
            for pixel in (3 * (column * width // columns) for column in range(columns))
        ).rstrip()
        for line in range(lines)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="mandelbrot", description="Draw a spiral of the Mandelbrot set.")
    parser.add_argument("--width", type=size, default=640, help="pixels (default: %(default)s)")
    parser.add_argument("--height", type=size, default=480, help="pixels (default: %(default)s)")
    parser.add_argument(
        "--iterations", type=size, default=600, help="steps a point has to leave (default: %(default)s)"
    )
    parser.add_argument(
        "--out", metavar="FILE.png", help="write the picture; without it, a preview in letters"
    )
    options = parser.parse_args()

    rows = render(options.width, options.height, options.iterations)
    if options.out is None:
        print(*preview(rows), sep="\n")
    else:
        import png

        picture = png.Writer(options.width, options.height, greyscale=False)
        with open(options.out, "wb") as file:
            picture.write_packed(file, rows)
    print(
        f"{options.width} x {options.height} pixels, sha256 {hashlib.sha256(b''.join(rows)).hexdigest()[:16]}"
    )


if __name__ == "__main__":
    main()
