"""Everything that can be configured, read once and checked as a whole.

Law: only the composition root, the Celery module and the command line read settings; everybody below is handed values.
Sources: `MAILWORKER_SECTION__NAME` in the environment, over the TOML file that `MAILWORKER_CONFIG` names, over
defaults.
A name that is not known stops the program and tells the nearest one that is.
"""

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from mailworker.keys import check_lane
from mailworker.place import check_broker, parse_place
from mailworker.policy.rates import Rate
from mailworker.relay_settings import LaneSettings, RelaySettings, Section
from mailworker.setting_names import nearest, unknown_in_environment, unknown_in_table

PREFIX = "MAILWORKER_"
MOST_SLICES = 3
"""Of these a drain takes at most, one after the other."""
CONFIG_NAME = "MAILWORKER_CONFIG"


class SettingsError(Exception):
    """The settings cannot be used; the text says where and how to cure it, one line a fault."""


class RedisSettings(Section):
    """Where the ledger lives."""

    url: SecretStr = SecretStr("redis://localhost:6379/0")
    """`redis://`, `rediss://`, `unix:///path/redis.sock?db=0`, `sentinel://s1:26379,s2:26379/MASTER?db=0` or
    `cluster://n1:6379,n2:6379`; `sentinels://` and `clusters://` with TLS."""
    sentinel_username: str | None = None
    sentinel_password: SecretStr | None = None
    """What Sentinels themselves ask for; the login in `url` is for the servers."""
    replicas: int = Field(0, ge=0, le=10)
    """A mail is accepted, and a final dot allowed, when so many replicas have it. Not with a Cluster."""
    prefix: str = Field("mw", pattern=r"^[A-Za-z0-9_.-]{1,32}$")
    """The first part of every key."""
    timeout_seconds: float = Field(5.0, gt=0, le=60)
    """How long one call may take. `.delay` has raised or returned after twice that."""
    shared_file_bytes: int = Field(32_768, ge=0)
    """An attachment of at least so many bytes is stored once, however many mails carry it; 0: with each mail."""

    @field_validator("url")
    @classmethod
    def _leads_somewhere(cls, url: SecretStr) -> SecretStr:
        parse_place(url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _can_wait(self) -> "RedisSettings":
        if self.replicas and parse_place(self.url.get_secret_value()).kind == "cluster":
            raise ValueError("replicas does not work with a Cluster: set min-replicas-to-write on its nodes")
        return self


class BrokerSettings(Section):
    """Where the bells travel: a Celery broker."""

    url: SecretStr | None = None
    """A Celery broker URL, or one like `redis.url`; by default the ledger's own Redis, if that is no Cluster."""
    foreign_queue: str | None = "mailworker"
    """A queue in which apps without this package leave `mailworker.send_email` messages; empty: none. Everything that
    comes there is taken, so it must be no other app's: `celery` is the queue of every app that names none."""
    callback_url: SecretStr | None = None
    """Where the tasks of `link`, `link_error`, chains and chords are published; by default where the bells are."""
    timeout_seconds: float = Field(3.0, gt=0, le=60)
    """How long publishing a bell may take; a lost bell only costs a moment."""

    @field_validator("url", "callback_url")
    @classmethod
    def _known_transport(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and url.get_secret_value():
            check_broker(url.get_secret_value())
        return url

    @field_validator("foreign_queue")
    @classmethod
    def _empty_is_none(cls, name: str | None) -> str | None:
        return name or None


class LimitSettings(Section):
    """What `.delay` refuses."""

    message_bytes: int = Field(10 * 1024 * 1024, ge=1024, le=100 * 1024 * 1024)
    recipients: int = Field(50, ge=1, le=100)
    attachments: int = Field(10, ge=0, le=50)


class SealingSettings(Section):
    """Keys that encrypt what mails say before Redis sees it."""

    keys: tuple[SecretStr, ...] = ()
    """`id:base64-of-32-bytes`, the first one writes, all of them read. Several are separated by commas."""

    @field_validator("keys", mode="before")
    @classmethod
    def _comma_list(cls, keys: object) -> object:
        return tuple(k.strip() for k in keys.split(",") if k.strip()) if isinstance(keys, str) else keys


class WorkerSettings(Section):
    """How workers go about it. The defaults suit almost everybody."""

    slice_seconds: float = Field(5.0, gt=0, le=60)
    """How long one drain goes on before it rings for the next one; three times as long where it uses several links to
    a slow relay and no other lane waits."""
    batch_mails: int = Field(50, ge=1, le=500)
    batch_bytes: int = Field(8 * 1024 * 1024, ge=1024)
    lease_seconds: float = Field(8.0, ge=1, le=3600)
    """A claim that was not renewed for so long is given to another worker."""
    watch_seconds: float = Field(1.0, gt=0, le=60)
    """How often due mails, dead claims and missing bells are looked for."""
    time_limit_seconds: float = Field(4 * 3600.0, gt=0)
    """Celery kills a drain that runs longer."""
    soft_shutdown_seconds: float = Field(0.0, ge=0, le=3600)
    """How long SIGQUIT (or SIGTERM with REMAP_SIGTERM=SIGQUIT) waits for the mails in hand before it cuts them off."""


class EventSettings(Section):
    """What is shown of mails by Celery's events, in Flower for one. Workers show nothing without `-E`."""

    per_second: int = Field(200, ge=1, le=100_000)
    """Of more mails in a second each process shows this many, and counts the others."""
    sent: bool = False
    """Show mails from when they are accepted or cancelled, too, by those processes."""


class SentrySettings(Section):
    """Where the errors of workers are told, masked. Web processes are their application's own to watch."""

    dsn: SecretStr | None = None
    """By default what `SENTRY_DSN` says, if the extra `sentry` is installed; `SENTRY_ENVIRONMENT` and `SENTRY_RELEASE`
    hold too."""


class RetentionSettings(Section):
    """How long the records of ended mails are kept."""

    sent_seconds: int = Field(7 * 86400, ge=60)
    partial_seconds: int = Field(30 * 86400, ge=60)
    dead_seconds: int = Field(30 * 86400, ge=60)
    in_doubt_seconds: int = Field(30 * 86400, ge=60)
    expired_seconds: int = Field(30 * 86400, ge=60)
    cancelled_seconds: int = Field(30 * 86400, ge=60)
    quarantined_seconds: int = Field(30 * 86400, ge=60)
    key_seconds: int = Field(86400, ge=1)
    """How long an idempotency key names its mail."""

    @model_validator(mode="after")
    def _keys_name_something(self) -> "RetentionSettings":
        for name in type(self).model_fields:
            if self.key_seconds > getattr(self, name):
                raise ValueError(f"key_seconds must not exceed {name}: the key would name nothing")
        return self


class Settings(BaseSettings):
    """All sections."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        # `keys` is a plain comma list, not JSON: the validators above read it.
        enable_decoding=False,
    )

    relay: str | None = None
    """Short for `relays.default.preset`: a provider, e.g. `ses:eu-west-1`."""
    redis: RedisSettings = RedisSettings()
    broker: BrokerSettings = BrokerSettings()
    relays: dict[str, RelaySettings] = Field(default_factory=lambda: {"default": RelaySettings()})
    lanes: dict[str, LaneSettings] = Field(default_factory=dict)
    limits: LimitSettings = LimitSettings()
    sealing: SealingSettings = SealingSettings()
    worker: WorkerSettings = WorkerSettings()
    retention: RetentionSettings = RetentionSettings()
    events: EventSettings = EventSettings()
    sentry: SentrySettings = SentrySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over what the file said."""
        del settings_cls, dotenv_settings, file_secret_settings
        names = partial(_named_as_in_file, env_settings, init_settings)
        return cast("PydanticBaseSettingsSource", names), init_settings

    @field_validator("lanes")
    @classmethod
    def _default_lane(cls, lanes: dict[str, LaneSettings]) -> dict[str, LaneSettings]:
        for name in lanes:
            try:
                check_lane(name)
            except ValueError as error:
                raise ValueError(f"{name!r}: {error}") from None
        return {"default": LaneSettings(), **lanes}

    @model_validator(mode="after")
    def _broker_is_no_cluster(self) -> "Settings":
        url = (self.broker.url or self.redis.url).get_secret_value()
        if url.startswith("cluster"):
            raise ValueError("MAILWORKER_BROKER__URL must name another server: Celery cannot use a Redis Cluster")
        if url.startswith("sentinel"):
            parse_place(url)
        return self

    @model_validator(mode="before")
    @classmethod
    def _name_the_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not data.get("relay"):
            return data
        relays = dict(data.get("relays") or {})
        relays["default"] = {"preset": data["relay"], **(relays.get("default") or {})}
        return data | {"relays": relays}

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        faults = [*self._faults_of_routes(), *self._faults_of_relays(), *self._faults_of_times()]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @property
    def used_relays(self) -> tuple[str, ...]:
        """The names of all relays that some lane uses."""
        return tuple(sorted({route.relay for lane in self.lanes.values() for route in lane.relay}))

    def _faults_of_routes(self) -> Iterator[str]:
        for name, lane in self.lanes.items():
            for route in lane.relay:
                if route.relay not in self.relays:
                    near = nearest(route.relay, self.relays)
                    hint = f"did you mean {near!r}? " if near else ""
                    known = f"{hint}There are {', '.join(sorted(self.relays))}" if self.relays else "There are none"
                    yield f"lanes.{name}.relay names relay {route.relay!r}, which is not configured; {known}"
            yield from self._faults_of_limits(f"lanes.{name}", lane.limits)

    def _faults_of_relays(self) -> Iterator[str]:
        if self.relay and self.relays["default"].preset != self.relay:
            yield f"relay and relays.default.preset name different presets, {self.relay!r} among them; drop one of them"
        ours = self.limits
        for name, relay in self.relays.items():
            place = f"relays.{name}"
            yield from self._faults_of_limits(place, relay.limits)
            yield from self._faults_of_limits(place, [limit.rate for limit in relay.domain_limits])
            if relay.max_recipients and relay.max_recipients < ours.recipients:
                yield (
                    f"limits.recipients is {ours.recipients}, but relay {name} takes {relay.max_recipients} for a mail "
                    f"({place}.max_recipients{_by(relay)}); lower limits.recipients"
                )
            if relay.max_message_bytes and relay.max_message_bytes < ours.message_bytes:
                yield (
                    f"limits.message_bytes is {ours.message_bytes}, but relay {name} takes {relay.max_message_bytes} "
                    f"({place}.max_message_bytes{_by(relay)}); lower limits.message_bytes"
                )
            if relay.warm_up_daily and not relay.limits:
                last = relay.warm_up_daily[-1]
                yield (
                    f"{place}.warm_up_daily ends with {last} mails a day, and then nothing bounds the relay; say in "
                    f"{place}.limits what it is being warmed up for, e.g. '{last * 2}/day'"
                )

    def _faults_of_limits(self, place: str, limits: Sequence[Rate]) -> Iterator[str]:
        most = self.limits.recipients
        for limit in limits:
            if limit.of_recipients and limit.limit < most:
                yield (
                    f"{place}: the limit {limit} is less than the {most} recipients that one mail may have "
                    f"(limits.recipients); lower limits.recipients to {limit.limit}, or raise the limit"
                )

    def _faults_of_times(self) -> Iterator[str]:
        worker = self.worker
        if worker.lease_seconds < 3 * worker.watch_seconds:
            yield "worker.lease_seconds must be at least three times worker.watch_seconds"
        if worker.lease_seconds < self.redis.timeout_seconds:
            yield (
                f"worker.lease_seconds is {worker.lease_seconds:g}, but one call to the ledger may take "
                f"{self.redis.timeout_seconds:g} s (redis.timeout_seconds), so that a claim could run out while it is "
                "renewed; raise the lease or lower the timeout"
            )
        for relay in self.used_relays:
            if relay in self.relays:
                yield from self._faults_of_time_limit(relay)

    def _faults_of_time_limit(self, name: str) -> Iterator[str]:
        relay = self.relays[name]
        # A slice may end just after the slowest mail has begun: greeting, EHLO and AUTH, MAIL, RCPT for each
        # recipient, DATA, and the content by the quarter of a megabyte, each as slow as its timeout allows.
        steps = 8 + self.limits.recipients + self.limits.message_bytes // 250_000
        waits = relay.connect_timeout_seconds + steps * relay.io_timeout_seconds + relay.final_seconds
        longest = MOST_SLICES * self.worker.slice_seconds + waits
        if self.worker.time_limit_seconds <= longest:
            yield (
                f"worker.time_limit_seconds must exceed {longest:g} s, what the slowest mail may take by the timeouts "
                f"of relay {name}; raise it or lower relays.{name}.io_timeout_seconds"
            )

    def lane(self, name: str) -> LaneSettings:
        """The lane's settings. Raises LookupError with the nearest name for a lane that is not configured."""
        if name not in self.lanes:
            near = nearest(name, self.lanes)
            hint = f"did you mean {near!r}? " if near else ""
            raise LookupError(f"there is no lane {name!r}; {hint}The lanes are {', '.join(sorted(self.lanes))}")
        return self.lanes[name]


def _named_as_in_file(environment: Callable[[], dict[str, Any]], file: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Let the environment, which knows neither small letters nor hyphens, speak of the file's relays and lanes."""
    told, written = environment(), file()
    for section in ("relays", "lanes"):
        names = written.get(section)
        if isinstance(told.get(section), dict) and isinstance(names, dict):
            known = {name.lower().replace("-", "_"): name for name in names}
            told[section] = {
                name if name in names else known.get(name, name): value for name, value in told[section].items()
            }
    return told


def load_settings() -> Settings:
    """Read file and environment. Raises SettingsError, which names every fault and its cure."""
    path = os.environ.get(CONFIG_NAME)
    table = _read_file(Path(path)) if path else {}
    models = {section: field.annotation for section, field in Settings.model_fields.items()}
    faults = [
        *unknown_in_environment(models, os.environ, PREFIX, CONFIG_NAME),
        *unknown_in_table(models, table, path or ""),
    ]
    if faults:
        raise SettingsError("\n".join(faults))
    try:
        return Settings(**table)
    except ValidationError as error:
        raise SettingsError("\n".join(_tell(fault) for fault in error.errors(include_input=False))) from None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        # A mark at the file's beginning is what some editors of Windows put there.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{CONFIG_NAME}: cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a TOML file: {error}") from None


def _tell(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    name = PREFIX + "__".join(str(part).upper().replace("-", "_") for part in fault["loc"])
    return f"{name} (or {place} in the file): {reason_of(fault)}" if place else reason_of(fault)


def reason_of(fault: Mapping[str, Any]) -> str:
    """Say what pydantic found, in its words or ours."""
    return str(fault["msg"]).removeprefix("Value error, ")


def _by(relay: RelaySettings) -> str:
    return f", by preset {relay.preset}" if relay.preset else ""
