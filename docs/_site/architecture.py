"""Draws who imports whom, from the import graph: ``docs/pictures/architecture.svg``.

Rows are the layers of the import contract in ``pyproject.toml``, top to bottom. An import that
already follows from others (A imports B, B imports C) is left out.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import grimp

PROJECT = Path(__file__).parents[2]
PICTURE = PROJECT / "docs" / "pictures" / "architecture.svg"
PACKAGE = "steelyard"
BOX_WIDTH, BOX_HEIGHT = 116, 30
ROW, COLUMN = 64, 132
"""Distances between the middles of boxes."""
MIDDLE, TOP, WIDTH = 200, 34, 490
LANE, FIRST_LANE = 13, 408
"""Imports that pass by a layer run to the right of the boxes, each in a lane of its own."""
STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1b2430; text-anchor: middle; }
.note { font-size: 12px; fill: #52606d; text-anchor: start; }
rect { fill: #eef2f6; stroke: #7b8794; }
.paper { fill: #ffffff; stroke: none; }
.core rect { fill: #dff0e6; stroke: #2f855a; }
.outside rect { fill: #fdebd3; stroke: #b7791f; }
path { fill: none; stroke: #52606d; stroke-width: 1.2; marker-end: url(#tip); }
"""

Imports = Mapping[str, set[str]]


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(draw(), encoding="utf-8")


def draw() -> str:
    """Return the picture as SVG."""
    layers, core = contracts()
    places = dict(_places(layers))
    height = TOP + ROW * len(layers)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>Packages of Steelyard in their layers, and who imports whom</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" style="fill:#52606d;'
        'stroke:none;marker-end:none"/></marker></defs>',
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        *_arrows(without_detours(imports()), places),
        *(_box(name, places[name], core) for name in places),
        '<text class="note" x="6" y="18">green: the pure core; orange: all that talks to the '
        "outside</text>",
        "</svg>\n",
    ]
    return "\n".join(parts)


def contracts() -> tuple[list[list[str]], set[str]]:
    """Return layers, the highest first, and the packages of the pure core."""
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    order, pure, *_ = settings["tool"]["importlinter"]["contracts"]
    layers = [[_short(name) for name in layer.split("|")] for layer in order["layers"]]
    return layers, {_short(name) for name in pure["source_modules"]}


def imports() -> dict[str, set[str]]:
    """Return what each package imports directly; a module at the top counts as one."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in sorted(graph.modules - {PACKAGE, f"{PACKAGE}.__main__"}):
        importing = _short(module)
        imported = map(_short, graph.find_modules_directly_imported_by(module) - {PACKAGE})
        found.setdefault(importing, set()).update(set(imported) - {importing})
    return found


def without_detours(all_imports: Imports) -> dict[str, set[str]]:
    """Return the imports that do not follow from others."""

    def reached(names: set[str]) -> set[str]:
        return names.union(*(reached(all_imports[name]) for name in names))

    return {
        name: direct - set().union(*(reached(all_imports[other]) for other in direct))
        for name, direct in all_imports.items()
    }


def _short(module: str) -> str:
    return module.strip().removeprefix(f"{PACKAGE}.").partition(".")[0]


def _places(layers: list[list[str]]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each package with the middle of its box."""
    for row, names in enumerate(layers):
        left = MIDDLE - COLUMN * (len(names) - 1) // 2
        for column, name in enumerate(names):
            yield name, (left + COLUMN * column, TOP + ROW * row + ROW // 2)


def _box(name: str, place: tuple[int, int], core: set[str]) -> str:
    x, y = place
    kind = "core" if name in core else "outside" if name == "gateways" else "plain"
    return (
        f'<g class="{kind}"><rect x="{x - BOX_WIDTH // 2}" y="{y - BOX_HEIGHT // 2}" '
        f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="5"/>'
        f'<text x="{x}" y="{y + 5}">{name}</text></g>'
    )


def _arrows(arrows: Imports, places: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Yield a line for each import; those that pass by a layer in lanes."""
    ends: list[int] = []  # of the last line in each lane
    for name, (x, y) in places.items():
        for imported in sorted(arrows[name], key=list(places).index):
            to_x, to_y = places[imported]
            begin, end = y + BOX_HEIGHT // 2, to_y - BOX_HEIGHT // 2
            if to_y - y == ROW:
                middle = (begin + end) // 2
                yield f'<path d="M{x} {begin}C{x} {middle} {to_x} {middle} {to_x} {end}"/>'
                continue
            lane = next((lane for lane, last in enumerate(ends) if last < begin), len(ends))
            ends[lane:] = [end, *ends[lane + 1 :]]
            beside, aside = FIRST_LANE + LANE * lane, 14 + 5 * lane
            out, back = begin + 4 + 2 * lane, end - 9 - lane
            yield f'<path d="M{x + aside} {begin}V{out}H{beside}V{back}H{to_x + aside}V{end}"/>'


if __name__ == "__main__":
    main()
