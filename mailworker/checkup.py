"""A relay, examined: connect, log in, look at what it says and offers, and tell in plain words what is wrong.

Law: no mail is sent unless an address is given for it. It is not asked of the ledger: a relay can be examined where
there is none. No secret and no whole address is told.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mailworker.policy.presets import Preset
from smtp_transport.client import SmtpClient
from smtp_transport.config import AuthMethod, SmtpConfig
from smtp_transport.connection import Connection
from smtp_transport.credentials import CredentialKind, Credentials
from smtp_transport.errors import ErrorKind, SmtpError
from smtp_transport.message import Email
from smtp_transport.observation.events import AuthDone, Event
from smtp_transport.observation.masking import masked_address
from smtp_transport.phase import Phase

_SOON_DAYS = 14
_REFUSED = frozenset(
    {ErrorKind.CREDENTIALS_INVALID, ErrorKind.CREDENTIALS_EXPIRED, ErrorKind.AUTH_METHOD_NOT_SUPPORTED}
)
_UNREACHED = {
    ErrorKind.DNS_RESOLUTION_FAILED: "the name {host} is not known: look at its spelling (with a preset, at the "
    "region), and at this machine's resolver",
    ErrorKind.CONNECTION_REFUSED: "{place} refuses connections: nothing listens there, or a firewall says no; is it "
    "the right port?",
    ErrorKind.CONNECT_TIMEOUT: "nobody answers at {place}: a firewall may swallow what is sent there. Many networks "
    "do so with port 25; try 587, 465 or 2525",
    ErrorKind.NETWORK_UNREACHABLE: "there is no way to {place} from this machine's network",
    ErrorKind.STARTTLS_NOT_SUPPORTED: "{place} offers no STARTTLS: if this port speaks TLS from the first byte, set "
    "tls to 'implicit'; if it should offer it, something in between may take it out",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What an examination found. Times in UTC, seconds for how long it took; `problem` is "" if all is well."""

    place: str
    tls: str
    seconds: float = 0.0
    banner: str = ""
    tls_version: str | None = None
    certificate_names: tuple[str, ...] = ()
    certificate_issuer: str = ""
    certificate_from: datetime | None = None
    certificate_until: datetime | None = None
    offers: tuple[str, ...] = ()
    max_bytes: int | None = None
    mode: str | None = None
    login: str | None = None
    mechanism: str | None = None
    mechanisms_tried: tuple[tuple[str, str], ...] = ()
    sent: str | None = None
    problem: str = ""
    advice: tuple[str, ...] = ()
    remarks: tuple[str, ...] = field(default=())

    @property
    def is_well(self) -> bool:
        """Whether mail could be submitted."""
        return not self.problem


def examine(config: SmtpConfig, preset: Preset | None = None, largest: int = 0) -> Finding:
    """Connect without logging in, then with; tell what was found. Raises nothing that a server can cause.

    `largest`: so many bytes a mail may have, by the settings.
    """
    began = time.monotonic()
    finding = Finding(config.place, config.tls.value)
    try:
        with_tls = _look(finding, config.model_copy(update={"credentials": None, "auth_method": None}))
        finding = with_tls if config.credentials is None else _log_in(with_tls, config)
    except SmtpError as error:
        finding = replace(finding, problem=explained(error, config))
    advice = preset.advice if preset is not None and (finding.problem or config.credentials is None) else ()
    return replace(
        finding, seconds=time.monotonic() - began, advice=advice, remarks=tuple(_remarks(finding, config, largest))
    )


def send_test(config: SmtpConfig, sender: str, recipient: str) -> str:
    """Send one test mail, and give what the relay said. Raises SmtpError, and ValueError for what is no address."""
    email = Email(
        from_=sender,
        to=recipient,
        subject="A test of this relay",
        text_body=f"This mail was sent through {config.place} to try it. Nobody need answer it.\n",
    )
    with SmtpClient(config) as client:
        return client.send(email).response


def explained(error: SmtpError, config: SmtpConfig) -> str:
    """Say in plain words what an error means for whoever set the relay up."""
    plain = _UNREACHED.get(error.kind)
    if plain and (error.phase is None or error.phase <= Phase.STARTTLS):
        return plain.format(host=config.host, place=config.place)
    code = f" (it said {error.code}{' ' + error.enhanced_code if error.enhanced_code else ''})" if error.code else ""
    return f"{error.message}{code}".replace("tls_config.", "")


def _look(finding: Finding, config: SmtpConfig) -> Finding:
    link = Connection.open(config)
    try:
        info, certificate = link.info(), link.certificate()
        return replace(
            finding,
            banner=info.banner,
            tls_version=info.tls_version,
            certificate_names=certificate.names if certificate else (),
            certificate_issuer=certificate.issuer if certificate else "",
            certificate_from=certificate.not_before if certificate else None,
            certificate_until=certificate.not_after if certificate else None,
            offers=info.capabilities.raw,
            max_bytes=info.capabilities.max_size,
            mode=link.mode.value,
        )
    finally:
        link.quit()


def _log_in(finding: Finding, config: SmtpConfig) -> Finding:
    try:
        as_whom, mechanism = _attempt(config)
    except SmtpError as error:
        tried = tuple(_others(finding, config, error)) if error.kind in _REFUSED else ()
        taken = [name for name, outcome in tried if outcome == "accepted"]
        if taken:
            told = f"the relay refuses its best mechanism and takes {taken[0]}: set auth_method to {taken[0]!r}"
        else:
            told = explained(error, config) + _way_to_log_in(error, finding)
        return replace(finding, mechanisms_tried=tried, problem=told)
    return replace(
        finding, login=masked_address(as_whom) if as_whom and "@" in as_whom else as_whom, mechanism=mechanism
    )


def _way_to_log_in(error: SmtpError, finding: Finding) -> str:
    if error.kind is not ErrorKind.AUTH_METHOD_NOT_SUPPORTED:
        return ""
    offered = _offered(finding)
    if not offered:
        return "; leave username and password out if it wants none, else try another port, 587 or 465"
    return "; it takes access tokens: set oauth_provider" if offered & {"XOAUTH2", "OAUTHBEARER"} else ""


def _offered(finding: Finding) -> set[str]:
    """Give the mechanisms on offer."""
    lines = [line.upper().replace("=", " ").split() for line in finding.offers]
    return {mechanism for line in lines if line[:1] == ["AUTH"] for mechanism in line[1:]}


def _attempt(config: SmtpConfig, method: AuthMethod | None = None) -> tuple[str | None, str | None]:
    """Log in once; give as whom, and by which mechanism."""
    used: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, AuthDone):
            used.append(event.mechanism)

    changed = {"observers": listen} | ({"auth_method": method} if method else {})
    link = Connection.open(SmtpConfig.model_validate(dict(config) | changed))
    try:
        return link.info().authenticated_as, used[-1] if used else None
    finally:
        link.quit()


def _others(finding: Finding, config: SmtpConfig, first: SmtpError) -> Iterator[tuple[str, str]]:
    """Try every mechanism on offer that passwords can go by, each once: some servers take one and not another."""
    offered = _offered(finding)
    if not isinstance(config.credentials, Credentials) or config.credentials.kind is not CredentialKind.PASSWORD:
        return
    if config.auth_method is not None:
        yield config.auth_method.value, first.message
        return
    passwords = [m for m in AuthMethod if m.value.startswith(("PLAIN", "LOGIN", "CRAM", "SCRAM"))]
    for method in passwords:
        if method.value in offered:
            try:
                _attempt(config, method)
            except SmtpError as error:
                yield method.value, explained(error, config)
            else:
                yield method.value, "accepted"


def _remarks(finding: Finding, config: SmtpConfig, largest: int) -> Iterator[str]:
    """Say what is not wrong yet, or not as one might think."""
    if finding.certificate_until:
        left = finding.certificate_until - datetime.now(UTC)
        if left.days < _SOON_DAYS:
            yield f"the certificate ends in {max(0, left.days)} days"
    if finding.banner and finding.tls_version is None:
        yield "nothing is encrypted on this link"
    if finding.max_bytes and finding.max_bytes < largest:
        yield f"it takes mails of {finding.max_bytes} bytes at most, and limits.message_bytes, {largest}, allows more"
    if config.credentials is None and _offered(finding):
        yield "it offers a login, and none is configured"
