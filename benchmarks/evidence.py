"""Validity of the evidence: lives without skill in markets of many kinds, and its power.

``python benchmarks/evidence.py [--lives 2000]``: share of two-year lives whose e-value ever reaches
20 and 100 (by chance at most 5 and 1 %), and without a warning that luck outlasts the bets; then
the months until an honest model, and one that claims less than it knows, reach both.
"""

import argparse

import numpy as np

from steelyard.evaluation.skill import BetPolicy
from steelyard.simulation.markets import NULL_MARKETS, Market, evidence_reached

BOUNDS = (20.0, 100.0)
PACES = (50, 300)
MONTHS, LONG_MONTHS = 24, 60
SKILLED = (
    Market("55 %", 0.55, 1.0),
    Market("55 %, claims half of it", 0.525, 2.0),
    Market("55 %, claims a fifth of it", 0.51, 5.0),
    Market("55 %, claims AR(.9)", 0.55, 1.0, claim_persistence=0.9),
    Market("58 %", 0.58, 1.0),
    Market("60 %", 0.60, 1.0),
)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=2000)
    lives, bets = parser.parse_args().lives, BetPolicy(days=2)
    print(
        "| no skill, 24 months | a month | ever 20 | ever 100 | 20, no warning | 100, no warning |"
    )
    print("|---|---|---|---|---|---|")
    for market in NULL_MARKETS:
        for pace in PACES:
            reached, warned = evidence_reached(market, lives, MONTHS, pace, BOUNDS, bets)
            ever = np.isfinite(reached)
            shares = [*ever.mean(axis=0), *(ever & ~warned).mean(axis=0)]
            columns = " | ".join(f"{share:.2%}" for share in shares)
            print(f"| {market.name} | {pace} | {columns} |", flush=True)
    print("\n| 50 a month | months to 20 | months to 100 | warned at 20 |\n|---|---|---|---|")
    for market in SKILLED:
        reached, warned = evidence_reached(market, lives // 4, LONG_MONTHS, 50, BOUNDS, bets)
        columns = " | ".join(f"{month:.1f}" for month in np.median(reached, axis=0))
        print(f"| {market.name} | {columns} | {warned[:, 0].mean():.1%} |", flush=True)


if __name__ == "__main__":
    main()
