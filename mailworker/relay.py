"""A relay's settings in the transport's terms."""

from typing import Any

from mailworker.relay_settings import RelaySettings
from mailworker.settings import PREFIX, SettingsError
from smtp_transport.config import PoolConfig, SmtpConfig, TlsConfig, TlsMode
from smtp_transport.credentials import CredentialProvider, Credentials


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
        raise SettingsError(f"MAILWORKER_RELAYS__{name.upper()}__HOST (or relays.{name}.host in the file): is not set")
    preset, password = relay.provider, relay.password.get_secret_value() if relay.password else ""
    username = relay.username or (password if preset and preset.is_username_the_password else None)
    if preset and preset.login == "required" and not username:
        raise SettingsError(
            f"{PREFIX}RELAYS__{name.upper()}__PASSWORD (or relays.{name}.password in the file): is not set, and "
            f"{preset.title} takes no mail without; it is {preset.password_is}"
            + ("" if preset.username else f", with {preset.username_is} as username")
        )
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
    try:
        return SmtpConfig(**{field: value for field, value in fields.items() if value is not None})
    except ValueError as error:
        raise SettingsError(f"relays.{name}: {error}") from None
