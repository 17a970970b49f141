"""The page of a data check: verdict first, no network needed, in light and dark."""

from collections.abc import Sequence
from html import escape

Line = tuple[str, str, bool, str]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #b3261e; --good: #1b7f3b; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #7fd99a; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top;
padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); }
.bad { color: var(--bad); } .good { color: var(--good); }
""".strip()


def verdict(lines: Sequence[Line]) -> str:
    """Return in words how many rules are broken."""
    broken = sum(not passed for _, _, passed, _ in lines)
    return f"{broken} of {len(lines)} rules broken" if broken else "every rule holds"


def quality_page(suite: str, source: str, lines: Sequence[Line], findings: Sequence[str]) -> str:
    """Return the HTML of one check.

    Args:
        suite: Name of the suite: bars, signals or features.
        source: Name of the source of the data.
        lines: One for each expectation: rule, expectation, whether it holds, result in words.
        findings: Other findings, one line each.
    """
    broken, heading = not all(passed for _, _, passed, _ in lines), verdict(lines)
    rows = "\n".join(
        f'<tr><td class="{"good" if passed else "bad"}">{escape(result)}</td>'
        f"<td>{escape(rule)}</td><td>{escape(expectation)}</td></tr>"
        for rule, expectation, passed, result in sorted(lines, key=lambda line: line[2])
    )
    notes = (
        "\n".join(f"<li>{escape(finding)}</li>" for finding in findings)
        or "<li>nothing else to report</li>"
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(suite)}: {heading}</title><style>{_STYLE}</style></head>
<body><main><h1>{escape(suite)}: <span class="{"bad" if broken else "good"}">{heading}</span></h1>
<p>Source: {escape(source)}</p>
<h2>Findings</h2><ul>
{notes}
</ul>
<h2>Expectations</h2><table>
<thead><tr><th>result</th><th>rule</th><th>expectation</th></tr></thead>
<tbody>
{rows}
</tbody></table></main></body></html>
"""
