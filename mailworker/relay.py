"""A relay's settings in the transport's terms."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from mailworker.relay_settings import RelaySettings, is_this_machine
from mailworker.settings import PREFIX, SettingsError, reason_of
from smtp_transport.config import PoolConfig, SmtpConfig, TlsConfig, TlsMode
from smtp_transport.credentials import CredentialProvider, Credentials
from smtp_transport.oauth import OAuth2Client

_ASK_SECONDS = 15.0
# Where the transport's word for a setting is another one.
_OUR_NAMES = {
    "connect_timeout": "connect_timeout_seconds",
    "io_timeout": "io_timeout_seconds",
    "final_timeout": "final_timeout_seconds",
    "max_message_size": "max_message_bytes",
    "secret": "password",
}


def faults_of_relays(relays: Mapping[str, RelaySettings], names: Iterable[str]) -> Iterator[str]:
    """Tell why the transport would not take the settings of these relays."""
    for name in names:
        try:
            smtp_config(name, relays[name])
        except SettingsError as error:
            yield str(error)


def warnings_of_relays(relays: Mapping[str, RelaySettings], names: Iterable[str]) -> Iterator[str]:
    """Tell what becomes of a login where a relay may be spoken to without TLS, and offers none."""
    for name in names:
        relay = relays[name]
        is_secret = bool(relay.password or relay.oauth_provider)
        if relay.tls != "opportunistic" or not is_secret or is_this_machine(relay.host or ""):
            continue
        if not relay.allow_plaintext:
            yield (
                f"{_place(name, 'tls')}: is 'opportunistic', but without allow_plaintext nothing is sent where no TLS "
                "is offered, not even the login; that is 'starttls', so say so"
            )
        else:
            yield (
                f"{_place(name, 'tls')}: is 'opportunistic', and allow_plaintext is set: where no TLS is offered, or "
                "somebody on the way takes the offer out, the password or token is not sent in clear text: mails wait, "
                "or go in clear text behind a login by SCRAM or CRAM-MD5, which do not show it; if the relay has TLS, "
                "use 'starttls'"
            )


def pool_config(relay: RelaySettings) -> PoolConfig:
    """Say how many connections a process keeps to a relay, and for how long."""
    return PoolConfig(
        max_connections=min(relay.max_connections, relay.all_connections or relay.max_connections),
        idle_timeout=relay.idle_seconds,
        max_lifetime=relay.lifetime_seconds,
        max_messages=relay.max_messages,
    )


def smtp_config(name: str, relay: RelaySettings, tokens: CredentialProvider | None = None) -> SmtpConfig:
    """Translate a relay's settings. `tokens` gives those of OAuth. Raises SettingsError that names the relay."""
    if relay.host is None:
        raise SettingsError(f"{_place(name, 'host')}: is not set")
    preset, password = relay.provider, relay.password.get_secret_value() if relay.password else ""
    username = relay.username or (password if preset and preset.is_username_the_password else None)
    if preset and preset.login == "required" and not username:
        raise SettingsError(
            f"{_place(name, 'password')}: is not set, and {preset.title} takes no mail without; it is "
            + preset.password_is
            + ("" if preset.username else f", with {preset.username_is} as username")
        )
    if relay.oauth_provider and tokens is None:
        oauth_client(name, relay)
    try:
        fields: dict[str, Any] = {
            "host": relay.host,
            "port": relay.port,
            "tls": TlsMode(relay.tls) if relay.tls else None,
            "tls_config": TlsConfig(ca_certs=relay.ca_certs, server_name=relay.server_name),
            "credentials": tokens or (Credentials.password(username, password) if username and password else None),
            "auth_method": relay.auth_method if tokens or password else None,
            "local_hostname": relay.local_hostname,
            "connect_timeout": relay.connect_timeout_seconds,
            "io_timeout": relay.io_timeout_seconds,
            "final_timeout": relay.final_seconds,
            "allow_plaintext": relay.allow_plaintext,
            "max_message_size": relay.max_message_bytes,
            "pool": pool_config(relay),
        }
        return SmtpConfig(**{field: value for field, value in fields.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("\n".join(_told(name, error))) from None


def oauth_client(name: str, relay: RelaySettings) -> OAuth2Client:
    """Make a relay's client of its token endpoint. Raises SettingsError that names the relay."""
    told: dict[str, Any] = {"ca_file": relay.oauth_ca_file, "timeout": _ASK_SECONDS}
    if relay.oauth_token_endpoint:
        told["token_endpoint"] = relay.oauth_token_endpoint
    if relay.oauth_scope:
        told["scope"] = relay.oauth_scope
    client_id, secret = relay.oauth_client_id or "", relay.oauth_client_secret
    try:
        if relay.oauth_provider == "google":
            return OAuth2Client.google(client_id, secret, **told)
        if relay.oauth_provider == "microsoft":
            return OAuth2Client.microsoft(client_id, secret, relay.oauth_tenant, **told)
        return OAuth2Client(client_id=client_id, client_secret=secret, **told)
    except ValidationError as error:
        raise SettingsError("\n".join(_told(name, error, "oauth_"))) from None
    except ValueError as error:
        raise SettingsError(f"{_place(name, '')}: oauth_{error}") from None


def _told(name: str, error: ValidationError, prefix: str = "") -> Iterator[str]:
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        field = f"{prefix}{fault['loc'][0]}" if fault["loc"] else ""
        yield f"{_place(name, _OUR_NAMES.get(field, field))}: {reason_of(fault)}"


def _place(name: str, field: str) -> str:
    path = ("relays", name, field) if field else ("relays", name)
    return f"{PREFIX}{'__'.join(path).upper().replace('-', '_')} (or {'.'.join(path)} in the file)"
