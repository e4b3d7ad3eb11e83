"""OAuth for relays: access tokens that all processes share, in the transport's terms.

Law: whoever finds no good token asks the fleet for leave to fetch one; everybody else waits for it, a moment. Tokens
are sealed before they leave the process. A failure is told with what the endpoint's answer means, and nothing of it.
"""

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import SecretStr

from mailworker.fleet import FleetKeys, Run, TokenAnswer, Tokens
from mailworker.ledger import LedgerError
from mailworker.relay import oauth_client
from mailworker.relay_settings import RelaySettings
from mailworker.sealing import KeyRing, SealError
from smtp_transport.credentials import REFRESH_EARLY, AuthMethod, Credentials, NotPickled, OAuth2Token
from smtp_transport.errors import AuthenticationError, ErrorKind, SmtpConnectionError, SmtpError
from smtp_transport.oauth import ClientCredentialsProvider, RefreshTokenProvider

# Leave to fetch outlasts the fetching, and waiting outlasts the leave of one that died.
_LEAVE_MS, _WAIT_SECONDS = 20_000, 25.0
# A token of which nobody said how long it lives.
_UNSAID = timedelta(minutes=30)
_HOLD_MS, _REFUSED_HOLD_MS = 5_000, 30_000
_FIELD = "token"
_T = TypeVar("_T")


class TokenUnavailableError(SmtpConnectionError):
    """No token could be had for now: nothing can be sent through this relay."""


class SharedTokens(NotPickled):
    """A provider of credentials whose tokens all processes share. Safe for threads, and over a fork."""

    def __init__(self, relay: str, settings: RelaySettings, run: Run, keys: FleetKeys, ring: KeyRing) -> None:
        self._relay = relay
        self._username = settings.username
        self._settings = settings
        self._client = oauth_client(relay, settings)
        self._ring = ring
        self._tokens = Tokens(run, keys.token(relay, _account(settings, ring)))
        self._given = threading.local()

    def get_credentials(self) -> Credentials:
        """Give the token of the moment. Raises AuthenticationError, or TokenUnavailableError for what may pass."""
        return self._get(None)

    def refresh(self) -> bool:
        """Have the token replaced that this thread was given last, once; False: the relay refuses new ones too."""
        refused = getattr(self._given, "version", None)
        try:
            self._get(refused)
        except AuthenticationError:
            return False
        return True

    def is_valid(self) -> bool:
        """Leave that to the fleet, which knows when the token ends."""
        return True

    def auth_method(self) -> AuthMethod | None:
        """Leave the choice: OAUTHBEARER where it is offered, else XOAUTH2."""
        return None

    def _get(self, refused: int | None) -> Credentials:
        who = secrets.token_hex(8)
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            answer = self._take(who, refused)
            if answer.state == "failed":
                raise _told(answer.reason)
            if answer.state == "refresh":
                return self._fetched(who, answer)
            if answer.state == "held":
                opened = self._open(answer.blob)
                if opened is not None:
                    self._given.version = answer.version
                    return Credentials.token(opened.access_token, self._username)
                refused = answer.version  # nobody here can read it: as good as none
            elif time.monotonic() > until:
                raise TokenUnavailableError("another process was to fetch a token, and did not")
            else:
                time.sleep(answer.wait_ms / 1000)

    def _take(self, who: str, refused: int | None) -> TokenAnswer:
        early_ms = int(REFRESH_EARLY.total_seconds() * 1000)
        return self._asked(lambda: self._tokens.take(who, refused, _LEAVE_MS, early_ms))

    def _fetched(self, who: str, answer: TokenAnswer) -> Credentials:
        before = self._open(answer.blob)
        try:
            token = self._fetch(before.refresh_token if before else None)
        except SmtpError as error:
            is_final = isinstance(error, AuthenticationError)
            reason = f"{error.kind.value if is_final else ''}|{error.message}"
            self._asked(lambda: self._tokens.failed(who, _REFUSED_HOLD_MS if is_final else _HOLD_MS, reason))
            raise _told(reason) from None
        now = datetime.now(UTC)
        lives = (token.expires_at or now + _UNSAID) - now
        blob = self._seal(token)
        ms = max(1, int(lives.total_seconds() * 1000))
        self._asked(lambda: self._tokens.keep(answer.version, blob, ms, was_refused=bool(answer.reason)))
        self._given.version = answer.version + 1
        return Credentials.token(token.access_token, self._username)

    def _fetch(self, renewal: SecretStr | None) -> OAuth2Token:
        first = self._settings.oauth_refresh_token
        if first is None:
            return ClientCredentialsProvider(self._client, self._username).fetch()
        try:
            return RefreshTokenProvider(self._client, renewal or first, self._username).fetch()
        except AuthenticationError:
            if renewal is None or renewal == first:
                raise
        # The kept one may have been revoked when a person consented anew.
        return RefreshTokenProvider(self._client, first, self._username).fetch()

    def _seal(self, token: OAuth2Token) -> bytes:
        renewal = token.refresh_token.get_secret_value() if token.refresh_token else None
        plain = json.dumps({"access": token.access_token.get_secret_value(), "renewal": renewal})
        return self._ring.seal(plain.encode(), self._relay, _FIELD)

    def _open(self, blob: bytes) -> OAuth2Token | None:
        if not blob:
            return None
        try:
            held: dict[str, Any] = json.loads(self._ring.open(blob, self._relay, _FIELD))
        except (SealError, ValueError):
            return None
        return OAuth2Token(access_token=held["access"], refresh_token=held["renewal"])

    @staticmethod
    def _asked(question: Callable[[], _T]) -> _T:
        try:
            return question()
        except LedgerError as error:
            raise TokenUnavailableError(f"the ledger, which keeps the token, cannot be asked: {error}") from None


def _account(settings: RelaySettings, ring: KeyRing) -> str:
    """Name the account, so that another secret does not get the token of this one; under a key it tells nothing."""
    renewal = settings.oauth_refresh_token
    parts = (
        settings.oauth_provider,
        settings.oauth_token_endpoint,
        settings.oauth_tenant,
        settings.oauth_client_id,
        settings.oauth_scope,
        settings.username,
        renewal.get_secret_value() if renewal else "",
    )
    told = hashlib.sha256("\0".join(part or "" for part in parts).encode()).digest()
    return ring.name(told)[:16]


def _told(reason: str) -> SmtpError:
    """Make an error of what was noted: a kind, if a person must see to it, and a text."""
    kind, _, text = reason.partition("|")
    text = f"no OAuth token: {text}"
    if not kind:
        return TokenUnavailableError(text)
    known = next((each for each in ErrorKind if each.value == kind), ErrorKind.CREDENTIALS_INVALID)
    return AuthenticationError(text, known)
