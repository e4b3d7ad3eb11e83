"""Prove who we are: get credentials, choose a mechanism, lead its exchange, and once more if a token has been renewed.

Law: an exchange fails closed. A mechanism that wants the server's proof too has it, or the link is not used; nothing
weaker is tried instead. No local variable here holds a secret in the clear.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

from smtp_transport.auth import choose, decode_challenge, refusal
from smtp_transport.config import SmtpConfig
from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.trouble import at_phase
from smtp_transport.credentials import CredentialKind, CredentialProvider, Credentials
from smtp_transport.errors import AuthenticationError, ErrorKind, ProtocolError, SmtpError
from smtp_transport.phase import Phase
from smtp_transport.protocol.capabilities import Capabilities
from smtp_transport.protocol.commands import Auth, AuthCancel, AuthResponse
from smtp_transport.reply import Reply
from smtp_transport.sasl import SaslContext, SaslExchange, SaslMechanism

_MAX_ROUNDS: Final = 32
"""Challenges in one exchange. No mechanism needs ten; a server and a careless mechanism could go on for ever."""

_SHOWING: Final = frozenset({"PLAIN", "LOGIN"})
"""Mechanisms that show the server the password, so that every server can check it."""

_T = TypeVar("_T")


class _Outcome(NamedTuple):
    """The last reply, and the challenge before it: providers of tokens say there what they have against one."""

    reply: Reply
    challenge: bytes


def authenticate(
    talk: Conversation, config: SmtpConfig, source: Credentials | CredentialProvider, capabilities: Capabilities
) -> str | None:
    """Prove who we are, by the best mechanism that credentials, server and link allow. Give the user's name, if any.

    A provider's token that the server refuses is renewed and tried once more, on the same link.
    """
    try:
        if isinstance(source, Credentials):
            return _attempt(talk, config, source, capabilities)
        return _with_provider(talk, config, source, capabilities)
    except SmtpError as error:
        raise at_phase(error, Phase.AUTH) from error


def _with_provider(
    talk: Conversation, config: SmtpConfig, provider: CredentialProvider, capabilities: Capabilities
) -> str | None:
    method = config.auth_method or _asked(provider.auth_method)
    insisting = config.model_copy(update={"auth_method": method}) if method else config
    if not _asked(provider.is_valid):
        _asked(provider.refresh)
    credentials = _asked(provider.get_credentials)
    try:
        return _attempt(talk, insisting, credentials, capabilities)
    except AuthenticationError as refused:
        if refused.code != 535 or credentials.kind is not CredentialKind.TOKEN:
            raise
        renewed = _renewed(provider, credentials)
        if renewed is None:
            raise
    return _attempt(talk, insisting, renewed, capabilities)


def _renewed(provider: CredentialProvider, refused: Credentials) -> Credentials | None:
    """Give other credentials than the refused ones: another thread may have fetched them, else they are asked for."""
    current = _asked(provider.get_credentials)
    if current == refused and _asked(provider.refresh):
        current = _asked(provider.get_credentials)
    return None if current == refused else current


def _asked(question: Callable[[], _T]) -> _T:
    """Ask a provider, which may be foreign code: what it raises could hold anything, so only its type is told."""
    try:
        return question()
    except SmtpError:
        raise
    except Exception as error:  # noqa: BLE001 - foreign code
        kind = type(error).__name__
    raise AuthenticationError(f"the provider of credentials failed with {kind}")


def _attempt(
    talk: Conversation, config: SmtpConfig, credentials: Credentials, capabilities: Capabilities
) -> str | None:
    offered = frozenset(capabilities.auth_mechanisms)
    may_bind = any(name.startswith("SCRAM-") for name in offered) or bool(config.mechanisms)
    context = SaslContext(
        host=config.host,
        port=config.port,
        nonce=secrets.token_urlsafe(24),
        offered=offered,
        binding=talk.channel_binding if may_bind else None,
    )
    mechanism = choose(
        credentials,
        offered,
        may_reveal_secret=talk.tls_version is not None or config.may_authenticate_plaintext,
        insist=config.auth_method,
        own=config.mechanisms,
        can_bind=context.binding is not None,
    )
    reply, challenge = _exchange(talk, mechanism, credentials, context)
    if not reply.is_positive:
        bound = context.binding.kind if context.binding and getattr(mechanism, "binds_channel", False) else ""
        by = mechanism.name if mechanism.name not in _SHOWING and offered & _SHOWING else ""
        is_password = credentials.kind is CredentialKind.PASSWORD
        raise refusal(reply, credentials, challenge, bound, by if is_password else "")
    return credentials.username or None


def _exchange(talk: Conversation, mechanism: SaslMechanism, credentials: Credentials, context: SaslContext) -> _Outcome:
    steps = _Steps(mechanism, credentials, context)
    opening, unsaid = steps.opening(), None
    if not opening.is_short_enough:
        opening, unsaid = Auth(mechanism.name), _response(opening.initial)
    reply, challenge, is_shown = talk.ask(opening), b"", opening.initial is not None
    for _ in range(_MAX_ROUNDS):
        if not reply.is_intermediate:
            break
        try:
            challenge = decode_challenge(reply)
            response = unsaid or steps.answer(challenge)
        except SmtpError:
            _cancel(talk)
            raise
        unsaid = None
        reply, is_shown = talk.ask(response), True
    else:
        _cancel(talk)
        raise AuthenticationError("the exchange did not come to an end")
    if reply.is_positive:
        if not is_shown:
            # It is the reply to something else, or whoever gave it lets anybody in as anybody.
            raise ProtocolError("the server said yes before it had seen credentials", ErrorKind.UNEXPECTED_RESPONSE)
        steps.conclude()
    return _Outcome(reply, challenge)


def _cancel(talk: Conversation) -> None:
    with suppress(SmtpError):  # why it is given up tells more than how the server takes it
        talk.ask(AuthCancel())


class _Steps:
    """The client's side of an exchange. The mechanism may be foreign code: what it raises is named and not shown."""

    def __init__(self, mechanism: SaslMechanism, credentials: Credentials, context: SaslContext) -> None:
        self._mechanism = mechanism
        self._steps = self._run(lambda: mechanism.start(credentials, context))

    def opening(self) -> Auth:
        """Begin, with or without an initial response."""
        return self._run(lambda: Auth(self._mechanism.name, _octets(next(self._steps))))

    def answer(self, challenge: bytes) -> AuthResponse:
        """Answer a challenge."""
        return self._run(lambda: _response(self._steps.send(challenge)))

    def conclude(self) -> None:
        """Have the mechanism say whether the server, which is satisfied, has proven itself as well."""
        if getattr(self._mechanism, "verifies_server", False):
            self._run(lambda: _finish(self._steps))

    def _run(self, step: Callable[[], _T]) -> _T:
        try:
            return step()
        except SmtpError:
            raise
        except StopIteration:
            told = "the server went on asking when all had been said"
        except Exception as error:  # noqa: BLE001 - foreign code
            told = f"the mechanism {self._mechanism.name} failed with {type(error).__name__}"
        raise AuthenticationError(told)


def _finish(steps: SaslExchange) -> None:
    try:
        steps.send(b"")
    except StopIteration:
        return
    raise AuthenticationError("the server said yes before the exchange was over")


def _octets(data: bytes | None) -> bytes | None:
    """Check here what foreign code gives: whoever tripped over it later would show it in a traceback."""
    if data is None or isinstance(data, bytes | bytearray | memoryview):
        return None if data is None else bytes(data)
    raise AuthenticationError(f"a mechanism yields bytes or None, and not {type(data).__name__}")


def _response(data: bytes | None) -> AuthResponse:
    response = AuthResponse(_octets(data) or b"")
    del data  # tracebacks with local variables would show it
    if len(response.argument) > response.limit - len("\r\n"):
        raise AuthenticationError("the credentials are longer than a line may be", ErrorKind.CREDENTIALS_INVALID)
    return response
