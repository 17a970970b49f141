"""Draws the pictures of ``docs/concepts`` by the rules themselves.

The lives are simulated (some seconds); all other pictures are drawn at once, and a test compares.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steelyard.desk.blend import blend
from steelyard.evaluation.books import SizingPolicy
from steelyard.simulation.bounds import compile_bounds
from steelyard.simulation.characteristics import SCENARIOS, Design, run_lives
from steelyard.weight.decision import GENESIS, content_hash
from steelyard.weight.policy import PHASES, WeightPolicy

Floats = NDArray[np.float64]
PICTURES = Path(__file__).parents[1] / "pictures"
POLICY, THRESHOLD = WeightPolicy(), SizingPolicy().threshold
SIGNALS = {
    "yours says yes, the model doubts": (72.0, 55.0, 16),
    "yours says no, the model is sure": (64.0, 91.0, -8),
    "both say yes": (80.0, 76.0, 18),
}
"""Your system's confidence, the model's, and where the words stand from the end of the line."""
SETTLED = (
    (74.0, 82.0, 1.8),
    (78.0, 44.0, -1.9),
    (62.0, 88.0, 1.4),
    (71.0, 58.0, -1.6),
    (66.0, 61.0, 0.9),
    (83.0, 77.0, 1.2),
    (66.0, 78.0, -1.1),
    (72.0, 68.0, 1.5),
)
"""Signals of the picture of the books: existing confidence, the model's, net return in percent."""
WEIGHT_OF_BOOKS = 0.4
LIVES, MONTHS = 20, 24
WIDTH = 490
"""Of every picture, so that its words can be read on a phone."""
STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1b2430; }
.small { font-size: 12px; fill: #52606d; }
.middle { text-anchor: middle; } .end { text-anchor: end; } .bold { font-weight: 600; }
.mono { font-family: ui-monospace, monospace; font-size: 12px; }
.paper { fill: #ffffff; } .band { fill: #dbe7f3; stroke: #2b6cb0; }
.box { fill: #eef2f6; stroke: #7b8794; }
.axis { stroke: #9aa5b1; fill: none; } .bound { stroke: #b7791f; stroke-dasharray: 5 4; }
.line { stroke: #2b6cb0; stroke-width: 2; fill: none; }
.life { stroke: #2b6cb0; stroke-opacity: 0.3; fill: none; }
.won { fill: #2f855a; } .lost { fill: #c05621; } .left { fill: none; stroke: #9aa5b1; }
.arrow { stroke: #52606d; fill: none; marker-end: url(#tip); }
"""
TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0 8 4 0 8z" fill="#52606d"/></marker></defs>'
)


def main() -> None:
    """Write all pictures."""
    for name, draw in {**AT_ONCE, "concept-lives.svg": draw_lives}.items():
        (PICTURES / name).write_text(draw(), encoding="utf-8")


def draw_blend() -> str:
    """Return three blended confidences over the weight, and where a decision changes."""
    weights = np.arange(0, 101 * POLICY.ceiling) / 100

    def at(weight: float, confidence: float) -> tuple[float, float]:
        return 40 + 610 * weight, 220 - 4.5 * (confidence - 45)

    parts = [
        _line([at(0, 45), at(0.7, 45)], "axis"),
        _line([at(0, THRESHOLD), at(0.7, THRESHOLD)], "bound"),
        _text(at(0.7, THRESHOLD), f"traded above {THRESHOLD:g}", "small end", y=15),
        *(_text(at(w, 45), f"{w:.0%}", "small middle", y=18) for w in (0, 0.2, 0.4, 0.7)),
        _text(at(0.35, 45), "weight of the model", "small middle", y=36),
        *(_text(at(0, c), f"{c:g}", "small end", x=-8, y=4) for c in (50, 60, 70, 80)),
    ]
    for name, (existing, model, above) in SIGNALS.items():
        blended = [float(blend(w, np.array([existing]), np.array([model]))[0]) for w in weights]
        parts.append(_line([at(w, c) for w, c in zip(weights, blended, strict=True)], "line"))
        parts.append(_text(at(0.7, blended[-1]), name, "small end", y=above))
        taken = np.array(blended) > THRESHOLD
        if (changed := np.flatnonzero(taken != taken[0])).size:
            x, y = at(weights[changed[0]], blended[changed[0]])
            words = f"{'taken' if taken[-1] else 'left'} from {weights[changed[0]]:.0%}"
            parts.append(f'<circle class="lost" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
            parts.append(_text((x, y), words, "small", y=34 if taken[-1] else -8))
    return _svg("Blended confidence of three signals over the weight", 270, parts)


def draw_lives() -> str:
    """Return the weights of simulated lives: a model without skill, with it, and one that dies."""
    worlds = {scenario.name: scenario for scenario in SCENARIOS}
    design = Design(lives=LIVES, months=MONTHS, holdout=500)
    bounds = [compile_bounds(POLICY, THRESHOLD)]
    parts = []
    for panel, name in enumerate(("no skill", "58 %", "58 % dying")):
        [paths] = run_lives(worlds[name], design, bounds, SizingPolicy().risk_per_trade)
        left, days = 38 + 154 * panel, np.arange(paths.weights.shape[1])

        def at(day: float, weight: float, left: int = left) -> tuple[float, float]:
            return left + 128 * day / (30 * MONTHS), 240 - 280 * weight

        parts += [
            _text(at(0, 0.7), name, "bold", y=-14),
            *(_line([at(0, w), at(30 * MONTHS, w)], "axis") for w in (0, 0.2, 0.4, 0.7)),
            *(
                _text(at(0, w), f"{w:.0%}", "small end", x=-6, y=4)
                for w in (0, 0.2, 0.4, 0.7)
                if not panel
            ),
            *(_text(at(30 * m, 0), str(m), "small middle", y=18) for m in (0, 12, 24)),
            _text(at(15 * MONTHS, 0), "month", "small middle", y=34),
            *(_line(_steps(at, days, life), "life") for life in paths.weights),
        ]
    return _svg(f"Weight in {LIVES} simulated lives each", 290, parts)


def draw_phases() -> str:
    """Return the phases with their bands, and what each gate asks for."""
    gates, proof = POLICY.gates, POLICY.sequential
    asked = {
        "foundation": (f"{gates.foundation_settled} settled signals, a champion",),
        "shadow": (
            f"{gates.shadow_days} days, {gates.shadow_settled} settled predictions, accuracy",
            f"over {gates.shadow_accuracy:.0%} and the larger class, "
            f"evidence {proof.leave_shadow:g}",
        ),
        "pilot": (
            f"{gates.pilot_days} days, {gates.pilot_pivotal} changed decisions, a blend not",
            f"worse than your system, evidence {proof.rise:g}",
        ),
        "expansion": (
            f"{gates.expansion_days} days, weight at the top, {gates.expansion_improvement:.0%} "
            "more return,",
            f"drawdown under {gates.expansion_drawdown:.0%}, evidence {proof.rise:g}",
        ),
        "optimization": (f"stable after {gates.stable_days} days",),
    }
    parts = []
    for step, phase in enumerate(PHASES):
        band, y = POLICY.band(phase), 350 - 76 * step
        left, width = 8 + 140 * band.floor, max(140 * (band.ceiling - band.floor), 3)
        share = f"{band.floor:.0%} to {band.ceiling:.0%}" if band.ceiling else "0%"
        parts += [
            _text((8, y), phase, "bold"),
            _text((left + width, y), share, "small", x=6, y=21),
            f'<rect class="band" x="{left:g}" y="{y + 8}" width="{width:g}" height="18"/>',
            *(_text((204, y + 17 * row), words, "small") for row, words in enumerate(asked[phase])),
        ]
        if phase != PHASES[-1]:
            parts.append(_line([(190, y + 22), (190, y - 34)], "arrow"))
    parts.append(
        _text(
            (8, 406),
            "A cut multiplies the weight down, a breaker sets it to 0: any phase, any day.",
            "small",
        )
    )
    return _svg("Phases, their weights, and what each gate asks for", 424, parts)


def draw_books() -> str:
    """Return which book takes which of eight settled signals, and what each earns."""
    existing, model, returns = (np.array(values) for values in zip(*SETTLED, strict=True))
    books = {
        "baseline": existing,
        "ml": model,
        f"blend at {WEIGHT_OF_BOOKS:.0%}": blend(WEIGHT_OF_BOOKS, existing, model),
    }
    rows = (("your confidence", existing), ("the model's", model), ("outcome, %", returns))
    columns = [136 + 38 * number for number in range(len(SETTLED))]
    parts = []
    for row, (name, values) in enumerate(rows):
        parts.append(_text((8, 30 + 24 * row), name, "small"))
        form = "{:+.1f}" if values is returns else "{:.0f}"
        parts += [
            _text((x, 30 + 24 * row), form.format(value), "small middle")
            for x, value in zip(columns, values, strict=True)
        ]
    for row, (name, confidence) in enumerate(books.items()):
        y, taken = 120 + 40 * row, confidence > THRESHOLD
        parts.append(_text((8, y), name, "bold", y=5))
        for x, took, earned in zip(columns, taken, returns, strict=True):
            kind = "left" if not took else "won" if earned > 0 else "lost"
            parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="9"/>')
        parts.append(_text((480, y), f"{returns[taken].sum():+.1f} %", "bold end", y=5))
    return _svg("Three books over the same eight signals", 225, parts)


def draw_journal() -> str:
    """Return three decisions, each with the hash of the one before it."""
    decisions = (
        {"as_of": "2026-03-01", "verdict": "RAISE", "weight": 0.10},
        {"as_of": "2026-03-31", "verdict": "HOLD", "weight": 0.10},
        {"as_of": "2026-04-30", "verdict": "RAISE", "weight": 0.15},
    )
    parts, previous = [], GENESIS
    for number, decision in enumerate(decisions):
        x, own = 6 + 164 * number, content_hash(decision, number + 1, previous)
        lines = (
            (f"{number + 1}: {decision['verdict']} {decision['weight']:.0%}", "bold"),
            (decision["as_of"], "small"),
            (f"before {previous[:8]}", "mono"),
            (f"hash   {own[:8]}", "mono"),
        )
        parts.append(f'<rect class="box" x="{x}" y="20" width="150" height="112" rx="6"/>')
        parts += [
            _text((x + 14, 46 + 25 * row), str(words), kind)
            for row, (words, kind) in enumerate(lines)
        ]
        if number:
            parts.append(_line([(x, 91), (x - 14, 116)], "arrow"))
        previous = own
    return _svg("Decisions chained by their hashes", 150, parts)


AT_ONCE: Mapping[str, Callable[[], str]] = {
    "concept-blend.svg": draw_blend,
    "concept-phases.svg": draw_phases,
    "concept-books.svg": draw_books,
    "concept-journal.svg": draw_journal,
}


def _steps(
    at: Callable[[float, float], tuple[float, float]], days: NDArray[np.int64], weights: Floats
) -> list[tuple[float, float]]:
    """Return the corners of a weight that holds until it changes."""
    changes = np.flatnonzero(np.diff(weights)) + 1
    corners = [at(0, weights[0])]
    for day in (*changes, days[-1]):
        corners += [at(day, weights[day - 1]), at(day, weights[day])]
    return corners


def _line(points: Iterable[tuple[float, float]], kind: str) -> str:
    way = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="{kind}" d="M{way}"/>'


def _text(
    place: tuple[float, float], words: str, kind: str = "", x: float = 0, y: float = 0
) -> str:
    return f'<text class="{kind}" x="{place[0] + x:.1f}" y="{place[1] + y:.1f}">{words}</text>'


def _svg(title: str, height: int, parts: Iterable[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{title}</title>",
            f"<style>{STYLE}</style>",
            TIP,
            f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
            *parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    main()
