"""What a run says in Prefect (Markdown): the verdict first, then why, then figures and bounds, then where to look."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from steelyard.gateways.quality import Held
from steelyard.gateways.quality_page import verdict
from steelyard.wording import books_rows, number

Document = Mapping[str, Any]


def decided(decisions: Sequence[Document], state: Document) -> str:
    """Return what a run decided; what it looked at and left is said as well."""
    if not decisions:
        return f"**Nothing changed.** {_state(state)}"
    return "\n\n".join([*map(_decision, decisions), _state(state)])


def _decision(made: Document) -> str:
    moved = f"weight {made['weight_before']:.1%} → {made['weight_after']:.1%}, phase {made['phase']}"
    rules = (
        (rule["name"], number(rule["figure"]), number(rule["bound"]), _mark(rule), rule["reason"]) for rule in made["rules"]
    )
    parts = [f"**{made['verdict']}** ({made['kind']}): {moved}", *(f"- {reason}" for reason in made["reasons"])]
    table = _table(("rule", "figure", "bound", "fired", "in words"), rules) if made["rules"] else ""
    return "\n".join(parts) + f"\n\n{table}\n\n{_link('The decision in MLflow', made.get('page'))}"


def _mark(rule: Document) -> str:
    return "●" if rule["fired"] else "○"


def _state(state: Document) -> str:
    return f"Weight {state['weight']:.1%}, phase {state['phase']}, lease until {state['lease_until'][:16]}."


def trained(version: Document, links: Mapping[str, str]) -> str:
    """Return what became of a training; ``links`` are words → address."""
    figures = {"holdout accuracy": version["holdout_accuracy"], "no-information rate": version["no_information_rate"]}
    parts = [f"**Version {version['version']}: {version['stage']}** ({version['family']})", version["verdict"]]
    parts += [f"- {reason}" for reason in version["reasons"]]
    rows = ((name, "–" if value is None else f"{value:.1%}") for name, value in figures.items())
    where = " · ".join(_link(words, page) for words, page in links.items())
    return "\n\n".join([*parts, _table(("measure", "figure"), rows), where])


def checked(held: Iterable[Held]) -> str:
    """Return what data was held against its contract: what is broken first, then findings, every rule, and the page."""
    return "\n\n".join(map(_checked, sorted(held, key=lambda one: all(line[2] for line in one.lines))))


def _checked(held: Held) -> str:
    broken_first = sorted(held.lines, key=lambda line: line[2])
    rows = ((found, rule, expectation) for rule, expectation, _, found in broken_first)
    parts = [
        f"**{held.suite}: {verdict(held.lines)}** ({held.source})",
        "\n".join(f"- {one}" for one in held.findings),
        f"The same as a page, on the machine it ran on: `{held.file}`",
        _table(("result", "rule", "expectation"), rows),
    ]
    return "\n\n".join(part for part in parts if part)


def drifted(found: Document) -> str:
    """Return a check for drift, the features that moved most first."""
    judged = [column for column in found["columns"] if column["psi"] is not None]
    moved = sorted(judged, key=lambda column: column["psi"] / column["bound"], reverse=True)
    rows = ((c["name"], number(c["importance"]), number(c["psi"]), number(c["bound"])) for c in moved)
    parts = [f"**{found['verdict']}**: version {found['model_version']}", *(f"- {reason}" for reason in found["reasons"])]
    table = _table(("feature", "importance", "PSI", "bound"), rows)
    return "\n".join(parts) + f"\n\n{table}\n\n{_link('Report and map in MLflow', found['page'])}"


def reviewed(document: Document) -> str:
    """Return a performance review: the answer, why, the books, and the page."""
    rows = books_rows(document["books"])
    parts = [
        f"**{document['answer']}**",
        document["because"],
        _table(("measure", "baseline", "ml", "blended", "target"), rows),
    ]
    return "\n\n".join(
        [
            *parts,
            _link("The report in MLflow", f"{document['run_page']}/artifacts/report.html"),
            f"The same page: `{document['page']}`",
        ]
    )


def _link(words: str, page: str | None) -> str:
    return f"[{words}]({page})" if page else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
