"""What can be set on a relay, and on a lane.

Law: every name is flat, so that it can be written in the environment as well as in a file; lists are separated by
commas there. What one section can tell to be wrong is told here; what takes two is told where they meet.
"""

import datetime as dt
import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    field_validator,
    model_validator,
)

from mailworker.policy.hours import Hours
from mailworker.policy.presets import Preset, preset_named
from mailworker.policy.rates import DomainRate, Rate, no_window_twice
from mailworker.policy.routes import Route
from mailworker.policy.tenants import Share, no_tenant_twice
from mailworker.policy.warmup import WarmUp
from mailworker.record import MOST_ATTEMPTS, InDoubt


class Section(BaseModel):
    """What all sections have in common: frozen, no unknown names, and no value in an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


def is_this_machine(host: str) -> bool:
    """Whether a host can only be this machine: a loopback address or name (RFC 6761 section 6.3), or a socket."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost") or name.startswith("unix:"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _items(value: object) -> object:
    """Read a list as the environment gives it. Raises ValueError for what is neither a list nor such a text."""
    if not isinstance(value, str | list | tuple):
        raise ValueError("write a text, with commas between several, or a list of texts")  # noqa: TRY004 - pydantic's
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _each(parse: Callable[[str], Any]) -> BeforeValidator:
    """Read each text of a list as a value."""

    def read(value: object) -> object:
        items = _items(value)
        return [parse(item) if isinstance(item, str) else item for item in items] if isinstance(items, list) else items

    return BeforeValidator(read)


def _spans(value: object) -> object:
    """Part sending hours. A comma parts days too: what parts spans stands behind a time."""
    return [part for part in re.split(r"(?<=\d)\s*,", value) if part.strip()] if isinstance(value, str) else value


def _routes(value: object) -> object:
    """Read a lane's relays, also where they stand in a list of a file: `["ses", "sendgrid"]`."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    return Route.parse_all(value) if isinstance(value, str) else value


_Written = PlainSerializer(lambda items: ", ".join(map(str, items)), return_type=str)
Rates = Annotated[tuple[Rate, ...], _each(Rate.parse), AfterValidator(no_window_twice), _Written]
DomainRates = Annotated[tuple[DomainRate, ...], _each(DomainRate.parse), AfterValidator(no_window_twice), _Written]
Spans = Annotated[tuple[Hours, ...], _each(Hours.parse), BeforeValidator(_spans), _Written]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_items)]
Shares = Annotated[tuple[Share, ...], _each(Share.parse), AfterValidator(no_tenant_twice), _Written]
Counts = Annotated[tuple[int, ...], BeforeValidator(_items), _Written]
Routes = Annotated[
    tuple[Route, ...],
    BeforeValidator(_routes),
    PlainSerializer(Route.write_all, return_type=str),
]


class RelaySettings(Section):
    """One SMTP account that mail is submitted to."""

    preset: str | None = None
    """A provider whose host, port, TLS and limits are known, e.g. `gmail` or `ses:eu-west-1`; what is set here wins."""
    host: str | None = None
    """Name or address. Only workers need it."""
    port: int = Field(587, ge=1, le=65535)
    tls: Literal["starttls", "implicit", "opportunistic", "none"] | None = None
    """By default `implicit` on port 465 and `starttls` (required) elsewhere."""
    username: str | None = None
    password: SecretStr | None = None
    oauth_provider: Literal["google", "microsoft", "custom"] | None = None
    """Log in with access tokens instead of a password; `username` says as whom. All processes share one token."""
    oauth_client_id: str | None = None
    oauth_client_secret: SecretStr | None = None
    oauth_refresh_token: SecretStr | None = None
    """What a user's consent gave; without it the program asks for itself (client credentials)."""
    oauth_tenant: str = "common"
    """Of Microsoft: its id or its domain."""
    oauth_token_endpoint: str | None = None
    """`https://…`, where tokens come from; needed for `custom`."""
    oauth_scope: str | None = None
    oauth_ca_file: Path | None = None
    """Certificates to trust instead of the system's, when tokens are asked for."""
    auth_method: str | None = None
    """Force one SASL mechanism, e.g. `LOGIN`."""
    local_hostname: str | None = None
    """What EHLO says; by default this machine's name."""
    connect_timeout_seconds: float = Field(30.0, gt=0, le=600)
    io_timeout_seconds: float = Field(60.0, gt=0, le=600)
    final_timeout_seconds: float | None = Field(None, gt=0, le=3600)
    """How long to wait for the reply to the final dot, where giving up may double a mail; by default ten times
    `io_timeout_seconds`, which is what RFC 5321 asks for."""
    allow_plaintext: bool = False
    """Speak without TLS to a host that is not this machine."""
    ca_certs: Paths = ()
    """Files or folders of certificates to trust instead of the system's."""
    server_name: str | None = None
    """The name that the certificate must bear, if it is not `host`."""
    max_connections: int = Field(5, ge=1, le=20)
    """Per worker process."""
    all_connections: int | None = Field(None, ge=1, le=10_000)
    """Of all workers together; by default as many as the relay stands."""
    host_connections: int | None = Field(None, ge=1, le=10_000)
    """Of all workers and all relays of the same host together."""
    max_messages: int | None = Field(None, ge=1)
    """A link that has carried so many mails is retired."""
    max_recipients: int | None = Field(None, ge=1)
    """So many recipients of one mail it takes; `limits.recipients` must not be more."""
    max_message_bytes: int | None = Field(None, ge=1024)
    """So large a mail it takes; `limits.message_bytes` must not be more."""
    idle_seconds: float = Field(300.0, gt=0, le=1800)
    """A link that was idle longer is closed."""
    lifetime_seconds: float = Field(3600.0, gt=0, le=14400)
    """A link older than this is retired."""
    limits: Rates = ()
    """What all workers together may send, e.g. `14/s, 50000/day`; `100 recipients/min` counts recipients."""
    domain_limits: DomainRates = ()
    """The same for each recipient domain, e.g. `gmail.com 20/s, * 100/min`: the first that fits a domain is its own."""
    learns: bool = True
    """Slow down when the relay complains of the rate, and creep up again."""
    warm_up_start: dt.date | None = None
    """The relay's first day (UTC); with `warm_up_daily`."""
    warm_up_daily: Counts = ()
    """How many mails each of its first days may carry, e.g. `50, 100, 500, 1000`."""
    breaker_failures: int = Field(5, ge=1, le=1000)
    """So many failures of the relay as a whole within the window open its breaker."""
    breaker_window_seconds: float = Field(60.0, gt=0, le=86400)
    breaker_recovery_seconds: float = Field(30.0, gt=0, le=86400)
    """How long an open breaker leaves the relay alone, until probes find out how it does."""
    breaker_successes: int = Field(3, ge=1, le=100)
    """So many probes that went well close it."""
    breaker_probes: int = Field(1, ge=1, le=100)
    """How many probes may be under way at once, of all workers."""

    @property
    def provider(self) -> Preset | None:
        """What is known of the preset, if there is one."""
        return preset_named(self.preset) if self.preset else None

    @property
    def warm_up(self) -> WarmUp | None:
        """The daily caps, if there are any."""
        return WarmUp(self.warm_up_start, self.warm_up_daily) if self.warm_up_start else None

    @property
    def final_seconds(self) -> float:
        """The wait for the final reply, in force."""
        return self.final_timeout_seconds or 10 * self.io_timeout_seconds

    @model_validator(mode="before")
    @classmethod
    def _begin_with_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not data.get("preset"):
            return data
        try:
            preset = preset_named(str(data["preset"]))
        except ValueError:
            return data  # told by the field's own validator, with its place
        told, said = preset.settings(), {name: value for name, value in data.items() if value is not None}
        if (str(said.get("port", told["port"])) == "465") != (said.get("tls", told["tls"]) == "implicit"):
            # Port and TLS go together: who says one of them means the other too.
            told |= {"tls": "implicit" if str(said.get("port")) == "465" else "starttls"} if "port" in said else {}
            told |= {"port": 465 if said.get("tls") == "implicit" else 587} if "port" not in said else {}
        if preset.username and "password" in said:
            told["username"] = preset.username
        return told | said

    @field_validator("oauth_provider", "oauth_client_id", "oauth_refresh_token", "oauth_client_secret", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, name: str | None) -> str | None:
        if name:
            preset_named(name)
        return name or None

    @model_validator(mode="after")
    def _whole_oauth(self) -> "RelaySettings":
        said = [name for name in type(self).model_fields if name.startswith("oauth_") and name in self.model_fields_set]
        said = [name for name in said if getattr(self, name) != type(self).model_fields[name].default]
        if not self.oauth_provider:
            if said:
                raise ValueError(
                    f"{said[0]}: say whose tokens these are: oauth_provider = 'google', 'microsoft' or 'custom'"
                )
            return self
        if self.password is not None:
            raise ValueError("password and oauth_provider: drop one of them")
        if not self.oauth_client_id or not self.username:
            raise ValueError("oauth_provider needs oauth_client_id, and username for whom to log in as")
        if self.oauth_provider == "custom" and not self.oauth_token_endpoint:
            raise ValueError(
                "oauth_token_endpoint: where do tokens come from? It is needed for oauth_provider 'custom'"
            )
        if self.oauth_refresh_token is None and (self.oauth_provider == "google" or self.oauth_client_secret is None):
            raise ValueError("oauth_refresh_token: is needed, unless a client's own secret is enough (not at Google)")
        preset = self.provider
        if preset is not None and self.oauth_provider not in {preset.oauth, "custom"}:
            taken = f"those of {preset.oauth}" if preset.oauth else "none"
            raise ValueError(f"oauth_provider is {self.oauth_provider!r}, but of tokens {preset.title} takes {taken}")
        return self

    @model_validator(mode="after")
    def _whole_account(self) -> "RelaySettings":
        preset = self.provider
        if self.oauth_provider:
            return self
        is_one_token = preset is not None and preset.is_username_the_password and self.password is not None
        if (self.username is None) != (self.password is None) and not is_one_token:
            raise ValueError("username and password must be set together")
        return self

    @model_validator(mode="after")
    def _agrees_with_preset(self) -> "RelaySettings":
        preset = self.provider
        if preset is None:
            return self
        if self.tls == "none" and preset.tls != "none" and self.host == preset.host:
            raise ValueError(f"tls is 'none', but {preset.title} takes mail over TLS only; leave tls out")
        if preset.username and self.username and not self.username.startswith(preset.username):
            raise ValueError(f"username: for {preset.title} it is {preset.username!r} for everybody; leave it out")
        return self

    @model_validator(mode="after")
    def _keeps_its_password(self) -> "RelaySettings":
        keeps = (self.auth_method or "").upper().startswith(("SCRAM-", "CRAM-"))
        secret = self.password or self.oauth_provider
        if self.tls == "none" and secret and not keeps and not is_this_machine(self.host or ""):
            raise ValueError(
                "tls is 'none', so that the password, or token, would go over the network in clear text; use "
                "'starttls' or 'implicit', or an auth_method that does not show it, such as SCRAM-SHA-256"
            )
        return self

    @model_validator(mode="after")
    def _whole_warm_up(self) -> "RelaySettings":
        if (self.warm_up_start is None) != (not self.warm_up_daily):
            raise ValueError("warm_up_start and warm_up_daily must be set together")
        _ = self.warm_up
        return self


class LaneSettings(Section):
    """A stream of mail with its own queues and policy."""

    relay: Routes = (Route("default"),)
    """Its relay, or relays: `ses, sendgrid` asks the second only while the first cannot be used; `a*3 + b` shares the
    work by weight; `a + b, c` falls back on c."""
    sticky_domains: bool = False
    """Where relays share the work, let the recipient's domain choose, so that one domain keeps meeting one relay."""
    limits: Rates = ()
    """What this lane may send, through whatever relay."""
    hours: Spans = ()
    """When it may send, e.g. `mon-fri 08:00-20:00, sat 10:00-14:00`; by default always."""
    time_zone: str = "UTC"
    """Whose hours these are, e.g. `Europe/Berlin`."""
    max_attempts: int = Field(30, ge=1, le=MOST_ATTEMPTS)
    """So many attempts, crashes included, then the mail is dead, unless it brought its own `max_attempts`."""
    max_age_seconds: int = Field(5 * 86400, ge=60)
    """A mail not delivered so long after it was due expires, unless it brought its own `expires` or `max_age`."""
    in_doubt: InDoubt = "resend"
    """After a crash or lost link at the final dot: send again, flagged, or park for a person. A mail may say itself."""
    tenant_weights: Shares = ()
    """How many turns a tenant gets where another gets one, e.g. `big*5, vip*2`."""
    suppress_bounces: bool = True
    """Do not try an address again in this lane after a server has said that nobody is there."""
    suppress_days: int = Field(180, ge=0, le=36_500)
    """For so long; 0: for good."""
    quick_retries: int = Field(3, ge=0, le=20)
    """How many retries follow fast; later ones wait from a minute up to `retry_max_seconds`."""
    quick_first_seconds: float = Field(0.5, gt=0)
    quick_max_seconds: float = Field(30.0, gt=0)
    slow_first_seconds: float = Field(60.0, gt=0)
    retry_max_seconds: float = Field(86400.0, gt=0, le=86400)
    asked_min_seconds: float = Field(1.0, ge=0)
    """A server that asks to \"try again in N seconds\" is given at least so much,"""
    asked_max_seconds: float = Field(86400.0, gt=0)
    """and at most so much, time; the lane's own schedule holds where it is longer."""

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of its hours."""
        return ZoneInfo(self.time_zone)

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is no time zone known here; write e.g. 'Europe/Berlin' or 'UTC'") from None
        return name

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "LaneSettings":
        if self.asked_min_seconds > self.asked_max_seconds:
            raise ValueError("asked_min_seconds must not exceed asked_max_seconds")
        return self
