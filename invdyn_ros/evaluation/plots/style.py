"""The look of all pictures: names of colours enter, colours and short words leave."""

from __future__ import annotations

INK, MUTED, GRID, PAPER = "#1b2430", "#667085", "#e4e8ee", "#ffffff"
GOOD, BAD, ACCENT, BLUE = "#2a9d5c", "#d6453d", "#f08c2e", "#2f6fde"
NIGHT, PANEL, EDGE, SNOW, MIST = "#10151d", "#1a212c", "#2e3948", "#f2f5f9", "#94a3b8"
JOINT_COLORS = (BLUE, ACCENT, GOOD, "#9b51c9", "#18a3b8", BAD, "#8a6d3b", "#5b6b7f")

Color = tuple[int, int, int]


def rgb(color: str) -> Color:
    """Return "#rrggbb" as red, green and blue, 0 to 255."""
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue


def joint_color(joint: int) -> str:
    """Return the colour of a joint by its number; they repeat for very long arms."""
    return JOINT_COLORS[joint % len(JOINT_COLORS)]


def short_names(names: tuple[str, ...]) -> list[str]:
    """Return joint names as a legend shows them: "shoulder_pan_joint" is "shoulder pan"."""
    words = [name.split("_") for name in names]
    kept = [[word for word in name if word != "joint"] or name for name in words]
    while len(names) > 1 and all(len(k) > 1 and k[0] == kept[0][0] for k in kept):
        kept = [k[1:] for k in kept]
    return [" ".join(k if not k[0].isdigit() else ["joint", *k]) for k in kept]


def format_number(value: float | None, unit: str = "", digits: int = 1, scale: float = 1.0) -> str:
    """Return a number with its unit, "n/a" where there is none."""
    return "n/a" if value is None else f"{scale * value:.{digits}f} {unit}".rstrip()
