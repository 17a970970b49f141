"""``steelyard simulate``: the operating characteristics of the policy that is configured."""

import json
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., tuple[int, str, str]]
SHORT = ("simulate", "--lives", 10, "--months", 6, "--signals", 50, "--holdout", 100)


def test_a_simulation_runs_on_the_policy_of_the_user(
    command: Command, home: Path, tmp_path: Path
) -> None:
    """With a ceiling of 0 no life has any weight; the page is in the home and self-contained."""
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "weight.yaml").write_text("ceiling: 0.0\nevidence: sequential\n")
    code, out, _ = command(*SHORT, "--home", home, "--conf", conf, "--json")
    document = json.loads(out)

    assert code == 0
    assert document["evidence"] == "sequential"
    assert [cell["world"] for cell in document["cells"]][:2] == ["no skill", "52 %"]
    assert all(
        cell[mode]["held"] == 0 for cell in document["cells"] for mode in ("ladder", "sequential")
    )
    assert Path(document["page"]) == home / "simulation.html"
    assert "58 % inverted" in (home / "simulation.html").read_text()


def test_a_simulation_is_read_at_the_terminal(command: Command, home: Path) -> None:
    """The answer first, then every table."""
    code, out, _ = command(*SHORT, "--dependence", 0.5, "--ingredients", "--home", home)

    assert code == 0
    assert out.startswith("In sequential mode a model without skill reaches 20 % in")
    assert "50 signals a month, correlated 0.5 within a day" in out
    assert "no head start from the holdout" in out
    assert all(part in out for part in ("no skill", "disabled", "after a turn"))


def test_a_page_that_cannot_be_written_is_one_clear_line(
    command: Command, home: Path, tmp_path: Path
) -> None:
    """Exit code 1."""
    code, _, err = command(*SHORT, "--home", home, "--out", tmp_path)

    assert code == 1
    assert "pass another --out" in err.strip().splitlines()[-1]
