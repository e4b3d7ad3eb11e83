"""How a conversation begins: greeting, EHLO, TLS, EHLO again, authentication.

Law: it fails closed. What the configuration asks for happens, or an error is raised; nothing weaker is tried instead.
"""

from dataclasses import dataclass

from smtp_transport.config import SmtpConfig, TlsMode
from smtp_transport.connection.authentication import authenticate
from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.trouble import refused, shutdown
from smtp_transport.errors import ErrorKind, ProtocolError, TlsError
from smtp_transport.phase import Phase
from smtp_transport.protocol.capabilities import Capabilities
from smtp_transport.protocol.commands import Ehlo, Helo, Lhlo, StartTls
from smtp_transport.reply import Reply


@dataclass(frozen=True, slots=True)
class Opened:
    """What was learnt and settled while a conversation began."""

    banner: str
    capabilities: Capabilities
    authenticated_as: str | None = None


def begin(talk: Conversation, config: SmtpConfig) -> Opened:
    """Come to where mails can be sent. Raises `SmtpError` with its phase; the caller closes."""
    if config.tls is TlsMode.IMPLICIT and talk.tls_version is None:
        raise TlsError("implicit TLS was asked for, and the stream is in clear text", phase=Phase.TLS)
    if config.tls is TlsMode.NONE and talk.tls_version is None and not config.may_be_plaintext:
        # No configuration that was checked is like this one.
        raise TlsError("mail may not go in clear text, and TLS was not asked for", phase=Phase.TLS)
    banner = greet(talk)
    capabilities = introduce(talk, config.local_hostname)
    if talk.tls_version is None and config.tls is not TlsMode.NONE and start_tls(talk, config, capabilities):
        # Whoever sits in between could have written what was offered before (RFC 3207 section 4.2).
        capabilities = introduce(talk, config.local_hostname)
    if config.credentials is None:
        _settled(talk, Phase.EHLO)
        return Opened(banner, capabilities)
    name = authenticate(talk, config, config.credentials, capabilities)
    _settled(talk, Phase.AUTH)
    return Opened(banner, capabilities, name)


def _settled(talk: Conversation, phase: Phase) -> None:
    """Have it told here if the server said more than it was asked: no mail could be sent on such a link."""
    if not talk.usable:
        talk.overhear(phase)
        raise ProtocolError("the server said more than it was asked", ErrorKind.UNEXPECTED_RESPONSE, phase=phase)


def greet(talk: Conversation) -> str:
    """Wait for the greeting and give its text."""
    reply = talk.hear()
    if not reply.is_positive:
        raise refused(reply, Phase.GREETING)
    return reply.text


def introduce(talk: Conversation, name: str) -> Capabilities:
    """Say EHLO, or HELO to a server that knows no EHLO (RFC 5321 section 3.2); LHLO with LMTP."""
    reply = talk.ask(Lhlo(name) if talk.lmtp else Ehlo(name))
    if reply.is_positive:
        return Capabilities.parse(reply)
    if reply.is_permanent and not talk.lmtp:
        reply = talk.ask(Helo(name))
        if reply.is_positive:
            return Capabilities()
    raise refused(reply, Phase.EHLO)


def start_tls(talk: Conversation, config: SmtpConfig, capabilities: Capabilities) -> bool:
    """Upgrade to TLS; False if the link stays in clear text, and may."""
    reply = talk.ask(StartTls()) if capabilities.starttls else None
    if reply is not None and reply.is_positive:
        talk.start_tls(config.tls_config, config.server_name)
        return True
    if reply is not None and reply.code == 421:
        raise shutdown(reply, Phase.STARTTLS)
    if config.tls is TlsMode.OPPORTUNISTIC and config.may_be_plaintext:
        return False
    raise _no_tls(reply)


def _no_tls(reply: Reply | None) -> TlsError:
    if reply is None:
        told = "the server does not offer STARTTLS, and mail may not go in clear text"
        return TlsError(told, ErrorKind.STARTTLS_NOT_SUPPORTED, phase=Phase.STARTTLS)
    # 454 is "not now" (RFC 3207 section 4), which is no statement about support.
    kind = ErrorKind.TLS if reply.is_transient else ErrorKind.STARTTLS_NOT_SUPPORTED
    return TlsError(refused(reply, Phase.STARTTLS).message, kind, reply.code, reply.enhanced, Phase.STARTTLS)
