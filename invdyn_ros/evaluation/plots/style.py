"""Colors and labels of all figures and videos."""

from __future__ import annotations

DARK, GRAY, LIGHT_GRAY, WHITE = "#1b2430", "#667085", "#e4e8ee", "#ffffff"
GREEN, RED, ORANGE, BLUE = "#2a9d5c", "#d6453d", "#f08c2e", "#2f6fde"
VIDEO_BACKGROUND, VIDEO_PANEL, VIDEO_LINE = "#10151d", "#1a212c", "#2e3948"
VIDEO_TEXT, VIDEO_GRAY = "#f2f5f9", "#94a3b8"
JOINT_COLORS = (BLUE, ORANGE, GREEN, "#9b51c9", "#18a3b8", RED, "#8a6d3b", "#5b6b7f")

Color = tuple[int, int, int]


def rgb(color: str) -> Color:
    """Return "#rrggbb" as red, green and blue, 0 to 255."""
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue


def joint_color(joint: int) -> str:
    """Return the color of a joint by its index; colors repeat after eight joints."""
    return JOINT_COLORS[joint % len(JOINT_COLORS)]


def short_names(names: tuple[str, ...]) -> list[str]:
    """Return short labels of joints: "shoulder_pan_joint" becomes "shoulder pan"."""
    tokens = [name.split("_") for name in names]
    labels = [[token for token in name if token != "joint"] or name for name in tokens]
    while len(names) > 1 and all(len(k) > 1 and k[0] == labels[0][0] for k in labels):
        labels = [k[1:] for k in labels]
    return [" ".join(k if not k[0].isdigit() else ["joint", *k]) for k in labels]


def format_number(value: float | None, unit: str = "", digits: int = 1, scale: float = 1.0) -> str:
    """Return a number with its unit; "n/a" for None.

    Args:
        value: the number.
        unit: unit to append.
        digits: digits after the decimal point.
        scale: factor from the unit of the value to the printed one.
    """
    return "n/a" if value is None else f"{scale * value:.{digits}f} {unit}".rstrip()
