"""Providers that keep a token fresh: by a user's refresh token, or by the program's own credentials."""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import SecretStr

from smtp_transport.credentials import AuthMethod, Credentials, NotPickled, OAuth2Token
from smtp_transport.errors import SmtpError
from smtp_transport.oauth.endpoint import OAuth2Client

Clock = Callable[[], datetime]


class _TokenProvider(NotPickled, ABC):
    """Keeps one token, and fetches the next five minutes before it ends. Safe for threads, and over a fork."""

    def __init__(self, client: OAuth2Client, username: str | None, token: OAuth2Token | None, clock: Clock) -> None:
        self._client = client
        self._username = username
        self._token = token
        self._clock = clock
        # By process: a lock that another thread held at a fork would be held in the child for ever.
        self._locks: dict[int, threading.RLock] = {}

    def get_credentials(self) -> Credentials:
        """Give the token at hand, or fetch one. Raises what `OAuth2Client.request` does."""
        token, now = self._token, self._clock()
        if token is None or token.needs_refresh(now):
            try:
                token = self._replace(token)
            except SmtpError as error:
                # Refreshing early is for this: the endpoint may be away for a while.
                if token is None or token.has_ended(now) or not error.is_retryable:
                    raise
        return Credentials.token(token.access_token, self._username)

    def refresh(self) -> bool:
        """Fetch a new token now."""
        self._replace(self._token)
        return True

    def is_valid(self) -> bool:
        """Whether there is a token that has not ended."""
        token = self._token
        return token is not None and not token.has_ended(self._clock())

    def auth_method(self) -> AuthMethod | None:
        """Leave the choice: OAUTHBEARER where it is offered, else XOAUTH2."""
        return None

    @abstractmethod
    def fetch(self) -> OAuth2Token:
        """Ask the endpoint for a token, for whoever keeps it elsewhere. Raises what `OAuth2Client.request` does."""

    def _replace(self, old: OAuth2Token | None) -> OAuth2Token:
        """Fetch a token in place of this one, unless another thread has just done so."""
        with self._locks.setdefault(os.getpid(), threading.RLock()):
            current = self._token
            if current is None or current is old:
                current = self._token = self.fetch()
            return current


class RefreshTokenProvider(_TokenProvider):
    """Access tokens for one user, by the refresh token that the user's consent gave (RFC 6749 section 6).

    RefreshTokenProvider(OAuth2Client.google("id", "secret"), "1//refresh-token", username="me@gmail.com")

    `refresh_token` may be a whole `OAuth2Token`, which is used until it ends. Some servers replace the refresh token at
    each use: `on_refresh` is given every new token, to be kept.
    """

    def __init__(
        self,
        client: OAuth2Client,
        refresh_token: OAuth2Token | SecretStr | str,
        username: str | None = None,
        on_refresh: Callable[[OAuth2Token], None] | None = None,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        token = refresh_token if isinstance(refresh_token, OAuth2Token) else None
        super().__init__(client, username, token, clock)
        renewal = token.refresh_token if token is not None else refresh_token
        if not renewal:
            raise ValueError("refresh_token: there is none, so that nothing can be refreshed")
        self._renewal = renewal if isinstance(renewal, SecretStr) else SecretStr(str(renewal))
        self._on_refresh = on_refresh

    def fetch(self) -> OAuth2Token:
        """Ask by the refresh token; the answer holds the one to be used next."""
        grant: dict[str, SecretStr | str] = {"grant_type": "refresh_token", "refresh_token": self._renewal}
        fetched = self._client.request(grant, self._clock())
        self._renewal = fetched.refresh_token or self._renewal
        token = fetched.model_copy(update={"refresh_token": self._renewal})
        if self._on_refresh is not None:
            self._on_refresh(token)
        return token


class ClientCredentialsProvider(_TokenProvider):
    """Access tokens for the program itself, without any user (RFC 6749 section 4.4): Microsoft's way for services.

    ClientCredentialsProvider(OAuth2Client.microsoft("id", "secret", tenant="example.com"), username="shop@example.com")

    `username`: the mailbox to send as. `scope` replaces the client's; Microsoft's is known. (Google has no such grant:
    its service accounts sign their requests, for which any function that gives a token will do.)
    """

    def __init__(
        self,
        client: OAuth2Client,
        username: str | None = None,
        scope: str | None = None,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(client, username, None, clock)
        is_microsoft = client.token_endpoint.startswith("https://login.microsoftonline.com/")
        self._scope = scope or ("https://outlook.office365.com/.default" if is_microsoft else client.scope)

    def fetch(self) -> OAuth2Token:
        """Ask by the program's own credentials."""
        grant = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        return self._client.request(grant, self._clock())
