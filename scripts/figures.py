"""Figures: one SVG that follows the page's light or dark theme.

The snippet draws with matplotlib's own defaults; these defaults are reserved colors here, and after saving each
reserved color becomes a CSS variable with a light and a dark value. In an <img> the SVG takes the color scheme of the
element that embeds it, so it follows the site's switch as well as the system.
"""

import io
import re
from typing import Any

# role: (reserved color that matplotlib draws, light value, dark value)
ROLES = {
    "ink": ("#010101", "#1f2328", "#e6e8ee"),
    "grid": ("#020202", "#d9dce1", "#3d4350"),
    "face": ("#030303", "#ffffff", "#1e2129"),
    "c0": ("#040404", "#0072b2", "#56b4e9"),
    "c1": ("#050505", "#c04f00", "#f0a030"),
    "c2": ("#060606", "#007a5a", "#3fc79a"),
    "c3": ("#070707", "#a3427f", "#e59ac8"),
    "c4": ("#080808", "#8a6100", "#f0e442"),
}
MARKED = re.compile("|".join(reserved for reserved, _, _ in ROLES.values()))
ROLE_OF = {reserved: role for role, (reserved, _, _) in ROLES.items()}
CSS = (
    "<style>:root{" + "".join(f"--{r}:{light};" for r, (_, light, _) in ROLES.items()) + "}"
    "@media(prefers-color-scheme:dark){:root{"
    + "".join(f"--{r}:{dark};" for r, (_, _, dark) in ROLES.items())
    + "}}</style>"
)
MAX_BYTES = 200_000


def style() -> dict[str, Any]:
    """The rcParams under which every snippet runs, over matplotlib's own defaults."""
    from cycler import cycler

    ink, grid = ROLES["ink"][0], ROLES["grid"][0]
    colors = [ROLES[f"c{i}"][0] for i in range(5)]
    lines = ["-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1))]
    inked = """text.color axes.edgecolor axes.labelcolor axes.titlecolor xtick.color ytick.color patch.edgecolor
        hatch.color lines.color boxplot.boxprops.color boxplot.capprops.color boxplot.whiskerprops.color
        boxplot.flierprops.color boxplot.flierprops.markeredgecolor"""
    return {
        **dict.fromkeys(inked.split(), ink),
        "grid.color": grid,
        "patch.facecolor": colors[0],
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.facecolor": ROLES["face"][0],
        "legend.edgecolor": grid,
        "legend.framealpha": 0.85,
        "axes.prop_cycle": cycler(color=colors) + cycler(linestyle=lines),
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "lines.linewidth": 2.0,
        "font.size": 11.0,
        "figure.figsize": (6.4, 3.6),
        "figure.constrained_layout.use": True,
        "image.cmap": "viridis",
        "mathtext.fontset": "dejavusans",
        "svg.fonttype": "path",
        "svg.hashsalt": "figure",
    }


def to_svg(figure: Any) -> tuple[str, int, int]:
    """Save a matplotlib figure: the SVG's text, and its width and height in CSS pixels."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.S)
    svg = MARKED.sub(lambda match: f"var(--{ROLE_OF[match[0]]})", svg)
    head = svg[: svg.index(">") + 1]
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
    assert box, "matplotlib's SVG has a viewBox"
    width, height = round(float(box[1]) * 4 / 3), round(float(box[2]) * 4 / 3)
    new_head = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {box[1]} {box[2]}" width="{width}" height="{height}">'
    )
    return new_head + CSS + svg[len(head) :], width, height


def is_blank(figure: Any) -> bool:
    """Whether nothing at all was drawn into any axes of the figure."""
    return not any(axes.has_data() or axes.texts or axes.patches for axes in figure.axes)
