"""Settings from ``conf/``: one YAML per subject, named like its field; unknown keys are errors."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from steelyard.desk.policy import DeskPolicy
from steelyard.desk.risk import RiskPolicy
from steelyard.errors import FixConfiguration
from steelyard.evaluation.books import SizingPolicy
from steelyard.gateways.brokers import BrokerSettings
from steelyard.gateways.cluster import ScaleSettings
from steelyard.gateways.quality import QualityPolicy
from steelyard.gateways.sources import SourceSettings
from steelyard.learning.policy import LearningPolicy
from steelyard.market.brackets import BracketPolicy
from steelyard.market.strategy import StrategySettings
from steelyard.monitoring.drift import DriftPolicy
from steelyard.values import FrozenModel, former_names
from steelyard.weight.policy import WeightPolicy

PACKAGE = Path(__file__).resolve().parent
LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # compared, not bound
LINEAGES = "lineages"
"""Folder of the settings, and of the state, in which each of several lineages has its own."""
PROFILES = "profiles"
"""Folder of the settings in which each profile has files that lie over those of the folder."""
SHARED = "home"
"""Name of what belongs to all lineages, in alerts; no lineage may have it."""
SHARED_SUBJECTS = ("broker", "quality", "scale", "services", "source")
"""Files that hold for all lineages: they share bars, stores, account and machines."""
FOR_ALL = ("bar", "collect")
"""Schedules of flows that act on all lineages in one run."""
Filled = TypeVar("Filled", bound=BaseModel)
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_LINEAGE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


class ServiceSettings(FrozenModel):
    """Locations of the state (``conf/services.yaml``).

    ``{home}`` stands for the home folder, ``${NAME}`` for an environment variable.
    """

    lineage: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = "signal-confidence"
    ledger: str = "sqlite:///{home}/.steelyard/ledger.db"
    mlflow: str = "sqlite:///{home}/mlruns/mlflow.db"
    prefect: str = ""
    artifacts: str = "{home}/mlruns/artifacts"
    state: str = "{home}/.steelyard"
    lake: str = ""
    pages: str = ""
    refresh_seconds: Annotated[float, Field(gt=0, le=3600)] = 5.0
    _only: str | None = PrivateAttr(default=None)  # of several: the name services.yaml gives

    @field_validator("ledger", "mlflow", "prefect", "artifacts", "state", "lake", "pages")
    @classmethod
    def _require_variables(cls, text: str) -> str:
        missing = _unset_variable(text)
        if missing:
            raise ValueError(f"environment variable {missing} is not set")
        return text

    @field_validator("prefect")
    @classmethod
    def _require_server(cls, address: str) -> str:
        if address and not address.startswith("postgresql+asyncpg://"):
            raise ValueError("must be postgresql+asyncpg://… or empty, for SQLite in the state")
        return address

    def at(self, home: Path) -> Self:
        """Return the settings with ``{home}`` and every ``${NAME}`` filled in."""
        fields = ("ledger", "mlflow", "prefect", "artifacts", "state", "lake", "pages")
        return _filled(self, fields, home)

    def of_several(self, lineage: str) -> Self:
        """Return the settings of one lineage of several, or of what they share (``SHARED``)."""
        own = self.model_copy(update={"lineage": lineage})
        own._only = self.first_lineage
        return own

    @property
    def is_one_of_several(self) -> bool:
        """Whether the home may hold other lineages."""
        return self._only is not None

    @property
    def first_lineage(self) -> str:
        """Name in ``services.yaml``: the lineage of a home from before it held several."""
        return self._only or self.lineage

    @property
    def own_state(self) -> Path:
        """Folder of the lineage's own state.

        That of the first lineage, and of what all share, stays where it was with one lineage.
        """
        if self.lineage in (self.first_lineage, SHARED):
            return Path(self.state)
        return Path(self.state, LINEAGES, self.lineage)


def _unset_variable(text: str) -> str | None:
    """Return the first ``${NAME}`` that the environment does not set; None without one."""
    return next((name for name in _VARIABLE.findall(text) if name not in os.environ), None)


def _filled(settings: Filled, fields: Iterable[str], home: Path) -> Filled:
    """Return settings with ``{home}`` and every ``${NAME}`` filled into some fields."""

    def filled(text: str) -> str:
        with_variables = _VARIABLE.sub(lambda match: os.environ[match[1]], text)
        return with_variables.replace("{home}", str(home.resolve()))

    return settings.model_copy(update={name: filled(getattr(settings, name)) for name in fields})


Port = Annotated[int, Field(ge=1, le=65_535)]
Cron = Annotated[str, Field(pattern=r"^\S+( \S+){4}$")]


APART = {"collect": "30 21 * * *", "trade": "45 21 * * *", "settle": "0 22 * * *"}
"""Times of the parts of ``bar`` where one of them has a time of its own."""


class Schedules(FrozenModel):
    """Schedules of the flows, one field per deployment of ``prefect.yaml``.

    Each is a cron expression in the time zone of ``UpSettings``; None: only by hand.

    Attributes:
        bar: Collects, trades and settles; "auto": when the source has a new bar.
    """

    bar: Cron | Literal["auto"] | None = "auto"
    collect: Cron | None = None
    trade: Cron | None = None
    settle: Cron | None = None
    guard: Cron = "15 22 * * *"
    weight: Cron = "30 22 * * *"
    drift: Cron = "45 22 * * *"
    train: Cron = "0 23 * * sat"
    deep_search: Cron = "0 1 1 1,4,7,10 *"
    review: Cron = "0 6 1 * *"

    @model_validator(mode="before")
    @classmethod
    def _times_of_their_own(cls, values: Any) -> Any:
        """Keep the times of homes from before ``bar``, and what they left as it was delivered."""
        if not isinstance(values, dict) or "bar" in values or not values.keys() & APART.keys():
            return values
        return {"bar": None, **APART, **values}


class UpSettings(FrozenModel):
    """Servers and schedules of ``steelyard up`` (``conf/up.yaml``)."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    prefect_port: Port = 4200
    mlflow_port: Port = 5000
    page_port: Port = 8788
    names: tuple[str, ...] = ()
    timezone: str = "UTC"
    run: bool = False
    schedules: Schedules = Schedules()

    @property
    def prefect_page(self) -> str:
        """URL of Prefect's server on this machine."""
        return f"http://{self._local_host}:{self.prefect_port}"

    @property
    def mlflow_page(self) -> str:
        """URL of MLflow's server on this machine."""
        return f"http://{self._local_host}:{self.mlflow_port}"

    @property
    def live_page(self) -> str:
        """URL of the live page on this machine."""
        return f"http://{self._local_host}:{self.page_port}"

    @property
    def _local_host(self) -> str:
        return "127.0.0.1" if self.host in EVERYWHERE else self.host

    @field_validator("timezone")
    @classmethod
    def _require_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("is no time zone such as UTC or America/New_York") from error
        return name

    @model_validator(mode="after")
    def _require_different_ports(self) -> Self:
        ports = {name: getattr(self, name) for name in ("prefect_port", "mlflow_port", "page_port")}
        for one, other in combinations(ports, 2):
            if ports[one] == ports[other]:
                raise ValueError(f"{one} and {other} are both {ports[one]}; they must differ")
        return self


class Settings(FrozenModel):
    """All settings, one field per file in ``conf/``."""

    source: SourceSettings = SourceSettings()
    quality: QualityPolicy = QualityPolicy()
    strategy: StrategySettings = StrategySettings()
    brackets: BracketPolicy = BracketPolicy()
    learning: LearningPolicy = LearningPolicy()
    books: SizingPolicy = SizingPolicy()
    drift: DriftPolicy = DriftPolicy()
    weight: WeightPolicy = WeightPolicy()
    desk: DeskPolicy = DeskPolicy()
    risk: RiskPolicy = RiskPolicy()
    broker: BrokerSettings = BrokerSettings()
    services: ServiceSettings = ServiceSettings()
    scale: ScaleSettings = ScaleSettings()
    up: UpSettings = UpSettings()
    _account: RiskPolicy | None = PrivateAttr(default=None)  # of several: that of the common file

    @property
    def account(self) -> RiskPolicy:
        """Limits of the account over all lineages; of a home with one those of ``risk``."""
        return self._account or self.risk

    def at(self, home: Path) -> Self:
        """Return the settings with ``{home}`` and every ``${NAME}`` filled in.

        Raises:
            FixConfiguration: If the address of a log names a variable that is not set.
        """
        log = self.strategy.log
        missing = _unset_variable(log.url) if self.strategy.is_log else None
        if missing:
            raise FixConfiguration(
                f"conf/strategy.yaml: log.url: environment variable {missing} is not set"
            )
        strategy = self.strategy
        if strategy.is_log:
            log = _filled(log, ("path", "url", "answers"), home)
            strategy = strategy.model_copy(update={"log": log})
        return self.model_copy(update={"strategy": strategy, "services": self.services.at(home)})

    @property
    def has_source(self) -> bool:
        """Whether bars are collected; only a log can do without."""
        return self.source.kind != "none" or not self.strategy.is_log

    @property
    def page_hosts(self) -> tuple[str, ...]:
        """Host names under which the pages of ``steelyard up`` answer."""
        named = urlsplit(self.services.pages).hostname
        return (*LOOPBACK, self.up.host, *self.up.names, *([named] if named else []))


def load(conf: Path | None = None, lineage: str | None = None) -> Settings:
    """Return the settings of one lineage.

    Args:
        conf: Folder of the settings, or a profile's in its ``profiles``, whose files lie over
            them key by key; None for ``./conf``, or the packaged one if there is none.
        lineage: Name of the lineage; None for the only one.

    Raises:
        FixConfiguration: If a file or key is unknown, a value out of bounds, or a file not YAML;
            if there are several lineages and none is named, or none of that name.
    """
    folder = conf or default_conf()
    common, names = _load_common(folder), lineage_names(folder)
    known = names or (common.services.lineage,)
    if lineage is None and len(known) > 1:
        raise FixConfiguration(
            f"this home holds {', '.join(known)}; name one: --lineage {known[0]}"
        )
    if lineage not in (None, *known):
        raise FixConfiguration(f"this home holds no lineage {lineage}; it holds {', '.join(known)}")
    return _of_lineage(common, folder, lineage or known[0]) if names else common


def load_shared(conf: Path | None = None) -> Settings:
    """Return the settings that hold for all lineages of a home: those of the common files.

    Args:
        conf: Folder of the settings; None for ``./conf``, or the packaged one if there is none.

    Raises:
        FixConfiguration: If a file or key is unknown, a value out of bounds, or a file not YAML.
    """
    folder = conf or default_conf()
    common = _load_common(folder)
    if not lineage_names(folder):
        return common
    return common.model_copy(update={"services": common.services.of_several(SHARED)})


def lineage_names(conf: Path | None = None) -> tuple[str, ...]:
    """Return the names of the lineages that have settings of their own, sorted; empty without.

    Args:
        conf: Folder of the settings; None for ``./conf``, or the packaged one if there is none.

    Raises:
        FixConfiguration: If a folder has a name that no lineage can have.
    """
    folder = _layers(conf or default_conf())[0] / LINEAGES
    names = sorted(path.name for path in folder.glob("*") if path.is_dir())
    for name in names:
        if not _LINEAGE.fullmatch(name) or name == SHARED:
            raise FixConfiguration(
                f"{folder / name}: a lineage is named by up to 64 of a-z, 0-9, '_', '.' and '-', "
                f"not beginning with a sign, and not {SHARED}; rename the folder"
            )
    return tuple(names)


def _load_common(folder: Path) -> Settings:
    subjects = _by_subject(folder)
    _require_known(subjects)
    return _with_pages(
        Settings.model_validate({name: _subject(files) for name, files in subjects.items()})
    )


def setting_files(conf: Path) -> list[Path]:
    """Return the files of a folder of settings, those that a profile lies over among them.

    Args:
        conf: Folder of the settings, or of a profile.

    Raises:
        FixConfiguration: If the folder does not exist.
    """
    return [file for files in _by_subject(conf).values() for file in files]


def _layers(folder: Path) -> tuple[Path, ...]:
    """Return the folder that a profile lies over and the profile; any other folder alone."""
    whole = folder.resolve()
    return (whole.parents[1], folder) if whole.parent.name == PROFILES else (folder,)


def _by_subject(folder: Path) -> dict[str, list[Path]]:
    """Return the files of every subject, a profile's last; subjects may be unknown."""
    subjects: dict[str, list[Path]] = {}
    for layer in _layers(folder):
        if not layer.is_dir():
            raise FixConfiguration(f"{layer}: no such configuration folder; pass --conf DIR")
        for file in sorted(layer.glob("*.y*ml")):
            subjects.setdefault(file.stem, []).append(file)
    return subjects


def _require_known(subjects: Mapping[str, Sequence[Path]]) -> None:
    for name, files in subjects.items():
        if name not in Settings.model_fields:
            raise FixConfiguration(_unknown_subject(files[0]))


def _of_lineage(common: Settings, folder: Path, name: str) -> Settings:
    """Return the common settings with those of a lineage over them, key by key."""
    own: dict[str, Any] = {"services": common.services.of_several(name)}
    shared, subjects = _by_subject(folder), _by_subject(_layers(folder)[0] / LINEAGES / name)
    _require_known(subjects)
    for subject, files in subjects.items():
        _require_own(files[0])
        own[subject] = _subject([*shared.get(subject, ()), *files])
    settings = common.model_copy(update=own)
    settings._account = common.risk
    return settings


def _require_own(file: Path) -> None:
    """Refuse a file, or a key, that says for one lineage what holds for all."""
    named = list[str]()
    if file.stem == "up" and isinstance(values := _values(file), dict):
        own = values.get("schedules") or {}
        named = [key for key in values if key != "schedules"]
        named += [f"schedules.{key}" for key in ("bar", *APART) if key in own]
    if named or file.stem in SHARED_SUBJECTS:
        keys = f": {', '.join(named)}" if named else ""
        raise FixConfiguration(
            f"{file}{keys} holds for all lineages; move it to {file.parents[2] / file.name}"
        )


def _merged(common: Any, own: Any) -> Any:
    """Return values from YAML with those of another file over them, key by key."""
    if not (isinstance(common, dict) and isinstance(own, dict)):
        return own
    return common | {key: _merged(common.get(key), value) for key, value in own.items()}


def _with_pages(settings: Settings) -> Settings:
    """Return the settings with the URL of MLflow's pages filled in.

    It is the configured one, or the MLflow server's, or that of ``steelyard up``.
    """
    services = settings.services
    server = services.mlflow if services.mlflow.startswith("http") else settings.up.mlflow_page
    pages = services.model_copy(update={"pages": services.pages or server})
    return settings.model_copy(update={"services": pages})


def load_readable(conf: Path | None = None) -> tuple[Settings, dict[str, str]]:
    """Return the settings as far as they are readable, and the fault of every other file.

    Args:
        conf: Folder of the settings; None for ``./conf``, or the packaged one if there is none.

    Returns:
        The settings, with defaults for unreadable files; subject → fault.

    Raises:
        FixConfiguration: If the folder does not exist.
    """
    readable, faults = dict[str, BaseModel](), dict[str, str]()
    for subject, files in _by_subject(conf or default_conf()).items():
        if subject not in Settings.model_fields:
            faults[subject] = _unknown_subject(files[0])
            continue
        try:
            readable[subject] = _subject(files)
        except FixConfiguration as error:
            faults[subject] = str(error)
    return _with_pages(Settings.model_validate(readable)), faults


def _unknown_subject(file: Path) -> str:
    return f"{file}: no such subject; known are {', '.join(sorted(Settings.model_fields))}"


def former_keys(conf: Path) -> list[str]:
    """Return one line per key in the folder ``conf`` that still has its former name."""
    lines = []
    for file in setting_files(conf):
        field = Settings.model_fields.get(file.stem)
        with suppress(yaml.YAMLError):
            values = yaml.safe_load(file.read_text(encoding="utf-8"))
            if field is not None and isinstance(field.annotation, type):
                renamed = former_names(field.annotation, values)
                lines += [
                    f"{file.name}: {old} is now {new}"
                    if new
                    else f"{file.name}: {old} is no longer used"
                    for old, new in renamed
                ]
    return lines


def declared_deployments(lineages: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the deployments as ``prefect.yaml`` declares them.

    Args:
        lineages: Names of several lineages: what acts on one is there for each, under its name.
    """
    declared = yaml.safe_load((PACKAGE / "prefect.yaml").read_text(encoding="utf-8"))
    return [
        _named(entry, name)
        for entry in declared["deployments"]
        for name in ((None,) if schedule_of(entry) in FOR_ALL else lineages or (None,))
    ]


def _named(entry: Mapping[str, Any], lineage: str | None) -> dict[str, Any]:
    if lineage is None:
        return dict(entry)
    return {
        **entry,
        "name": f"{entry['name']}-{lineage}",
        "parameters": {**entry["parameters"], "lineage": lineage},
        "tags": [*entry["tags"], lineage],
    }


def schedule_of(entry: Mapping[str, Any]) -> str:
    """Return the name in ``conf/up.yaml`` under which a declared deployment has its times."""
    return str(entry["tags"][0])


def default_conf() -> Path:
    """Return ``./conf`` if it exists, else the packaged settings."""
    local = Path("conf")
    return local if local.is_dir() else PACKAGE / "conf"


def with_variables(options: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return options with every ``${NAME}`` filled in, also inside lists and mappings.

    Args:
        options: Options of a plug-in, by name.
        file: File in ``conf/`` that holds them, for the message.

    Raises:
        FixConfiguration: If a variable is not set.
    """

    def filled(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: filled(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [filled(part) for part in value]
        if not isinstance(value, str):
            return value
        missing = _unset_variable(value)
        if missing:
            raise FixConfiguration(f"{file}: options: environment variable {missing} is not set")
        return _VARIABLE.sub(lambda match: os.environ[match[1]], value)

    return {name: filled(value) for name, value in options.items()}


def override(value: BaseModel, where: str, **changes: Any) -> Any:
    """Return ``value`` with ``changes``, validated like its file.

    Args:
        value: Settings of a subject.
        where: Origin of the changes, for the error message.
        **changes: Fields to replace.

    Raises:
        FixConfiguration: If a change is out of bounds.
    """
    try:
        return type(value).model_validate(value.model_dump() | changes)
    except ValidationError as error:
        raise FixConfiguration(f"{where}: {first_complaint(error)}") from error


def _subject(files: Sequence[Path]) -> BaseModel:
    """Return the settings of a subject, each file's values over those of the file before it."""
    return _validated(files[-1], reduce(_merged, map(_values, files)))


def _values(file: Path) -> Any:
    """Return what a file says, as parsed from YAML; nothing is an empty mapping."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise FixConfiguration(f"{file}: not YAML: {' '.join(str(error).split())}") from error


def _validated(file: Path, values: Any) -> BaseModel:
    model = cast("type[BaseModel]", Settings.model_fields[file.stem].annotation)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise FixConfiguration(f"{file}: {first_complaint(error)}") from error


def first_complaint(error: ValidationError) -> str:
    """Return pydantic's first complaint in one line: field, fault and value."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "extra_forbidden":
        return f"unknown key {where}; remove it or correct its spelling"
    given = f", got {first['input']!r}" if first["loc"] else ""
    return f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}{given}"
