"""One request to a token endpoint, and what its answer means."""

import json
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Required, Self, TypedDict, Unpack
from urllib.parse import urlencode, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator

from smtp_transport.credentials import OAuth2Token, SecretModel
from smtp_transport.errors import (
    AuthenticationError,
    ErrorKind,
    ProtocolError,
    RateLimitError,
    SmtpConnectionError,
    SmtpError,
    SmtpTimeoutError,
    TlsError,
)

MAX_ANSWER: Final = 65_536
"""Octets. Tokens have one or two thousand."""

_ERROR_CODE: Final = re.compile(r"[a-z_]{1,40}")  # RFC 6749 section 5.2
# Those that no other secret of the same client would heal: the user, or an administrator, has to consent again.
_EXPIRED: Final = frozenset({"invalid_grant", "interaction_required", "consent_required", "login_required"})
_LONGEST: Final = 10 * 365 * 86_400
"""Seconds that a token is believed to live."""


if TYPE_CHECKING:
    # What is taken is wider than what the fields hold; a caller's type checker hears it from here.
    class OAuth2ClientFields(TypedDict, total=False):
        """What `OAuth2Client` may be given."""

        token_endpoint: Required[str]
        client_id: Required[str]
        client_secret: SecretStr | str | None
        scope: str | None
        timeout: float
        ca_file: Path | str | None


class OAuth2Client(SecretModel):
    """A program as an authorization server knows it, and where that server gives tokens.

    `client_secret` is None for public clients. `scope`: several are separated by spaces. `timeout`, in seconds, is for
    a whole request. `ca_file` replaces the system's trust store.
    """

    token_endpoint: str
    client_id: str = Field(min_length=1, max_length=512)
    client_secret: SecretStr | None = None
    scope: str | None = None
    timeout: float = Field(default=15.0, gt=0, le=300, allow_inf_nan=False)
    ca_file: Path | None = None

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[OAuth2ClientFields]) -> None:
            """Check the fields. Raises pydantic.ValidationError."""

    @field_validator("token_endpoint")
    @classmethod
    def _is_https(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme != "https" or not parts.hostname or parts.username is not None or not value.isprintable():
            raise ValueError("give an address that starts with https://, without a user name in it")
        return value

    @classmethod
    def google(cls, client_id: str, client_secret: SecretStr | str | None = None, **fields: Any) -> Self:
        """Know Google's endpoint, and the scope of SMTP."""
        preset = {"token_endpoint": "https://oauth2.googleapis.com/token", "scope": "https://mail.google.com/"}
        return cls(client_id=client_id, client_secret=client_secret, **preset | fields)

    @classmethod
    def microsoft(
        cls, client_id: str, client_secret: SecretStr | str | None = None, tenant: str = "common", **fields: Any
    ) -> Self:
        """Know the endpoint of Microsoft's tenant, and the scope of SMTP.

        That scope is for a user's refresh token; `ClientCredentialsProvider` asks for what Microsoft wants there.
        """
        if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}", tenant):
            raise ValueError("tenant: give its id or its domain")
        preset = {
            "token_endpoint": f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
            "scope": "https://outlook.office.com/SMTP.Send offline_access",
        }
        return cls(client_id=client_id, client_secret=client_secret, **preset | fields)

    def request(self, grant: Mapping[str, SecretStr | str], now: datetime | None = None) -> OAuth2Token:
        """Ask for a token by this grant: `grant_type` and its parameters (RFC 6749 section 4).

        Raises `AuthenticationError` (credentials_expired: the grant is over; credentials_invalid: the client is not
        known, or may not), and what may pass: `RateLimitError`, `SmtpConnectionError`, `SmtpTimeoutError`, `TlsError`,
        `ProtocolError` (invalid_response).
        """
        status, body = self._in_time(self._form(grant))
        answer = _json(body)
        if status == 200:
            return self._token(answer, now or datetime.now(UTC))
        raise self._refusal(status, answer)

    def _form(self, grant: Mapping[str, SecretStr | str]) -> SecretStr:
        told = {"client_id": self.client_id, "client_secret": self.client_secret, "scope": self.scope, **grant}
        plain = {name: v.get_secret_value() if isinstance(v, SecretStr) else v for name, v in told.items() if v}
        return SecretStr(urlencode(plain))

    def _in_time(self, form: SecretStr) -> tuple[int, bytes]:
        """Do it in a thread: the resolver knows no deadline, and a peer that drips bytes stretches a socket's."""
        answers: list[tuple[int, bytes] | SmtpError] = []
        answered = threading.Event()
        context = self._context()

        def ask() -> None:
            try:
                answers.append(self._post(form, context))
            except SmtpError as error:
                answers.append(error.with_traceback(None))  # its frames hold the request
            except Exception as error:  # noqa: BLE001 - nobody would hear of it, and the caller would wait
                answers.append(self._unreachable(error))
            answered.set()

        try:
            threading.Thread(target=ask, name=f"token from {self._host}", daemon=True).start()
        except RuntimeError:
            ask()  # no thread is to be had, as while the interpreter ends: then the socket's timeout must do
        answer = answers[0] if answered.wait(self.timeout) else self._overdue()
        if isinstance(answer, SmtpError):
            answer.__context__ = None
            raise answer
        return answer

    def _post(self, form: SecretStr, context: ssl.SSLContext) -> tuple[int, bytes]:
        # The address was checked to be https:// when this object was made.
        request = urllib.request.Request(  # noqa: S310 - as said above
            self.token_endpoint, form.get_secret_value().encode(), {"Accept": "application/json"}, method="POST"
        )
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect())
        try:
            try:
                response = opener.open(request, timeout=self.timeout)
            except urllib.error.HTTPError as refused:
                response = refused
            with response:
                return response.status, response.read(MAX_ANSWER + 1)
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from None

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError:
            raise TlsError("ca_file cannot be read as PEM certificates", ErrorKind.CERTIFICATE_INVALID) from None

    @property
    def _host(self) -> str:
        return urlsplit(self.token_endpoint).hostname or ""

    def _unreachable(self, error: Exception) -> SmtpError:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            return self._overdue()
        if isinstance(cause, ssl.SSLCertVerificationError):
            told = f"the certificate of the token endpoint {self._host} was refused: {cause.verify_message}"
            return TlsError(told, ErrorKind.CERTIFICATE_UNTRUSTED)
        if isinstance(cause, socket.gaierror):
            told = f"the name of the token endpoint {self._host} cannot be resolved"
            return SmtpConnectionError(told, ErrorKind.DNS_RESOLUTION_FAILED)
        kind = ErrorKind.CONNECTION_REFUSED if isinstance(cause, ConnectionRefusedError) else ErrorKind.CONNECTION
        return SmtpConnectionError(f"the token endpoint {self._host} cannot be reached ({type(cause).__name__})", kind)

    def _overdue(self) -> SmtpTimeoutError:
        told = f"the token endpoint {self._host} did not answer in {self.timeout:g} s"
        return SmtpTimeoutError(told, ErrorKind.READ_TIMEOUT)

    def _refusal(self, status: int, answer: Mapping[str, Any] | None) -> SmtpError:
        said = str((answer or {}).get("error", ""))
        code = said if _ERROR_CODE.fullmatch(said) else ""
        told = f"the token endpoint {self._host} answered {status}" + (f", {code}" if code else "") + _numbers(answer)
        if status == 429:
            return RateLimitError(told, ErrorKind.SERVER_RATE_LIMIT_EXCEEDED)
        if status >= 500 or code in {"temporarily_unavailable", "server_error"}:
            return SmtpConnectionError(told)
        if 400 <= status <= 499:
            kind = ErrorKind.CREDENTIALS_EXPIRED if code in _EXPIRED else ErrorKind.CREDENTIALS_INVALID
            return AuthenticationError(told, kind)
        return ProtocolError(f"{told}; is it the right address?", ErrorKind.UNEXPECTED_RESPONSE)

    def _token(self, answer: Mapping[str, Any] | None, now: datetime) -> OAuth2Token:
        given = answer or {}
        try:
            seconds = float(given.get("expires_in") or 0)
            token = OAuth2Token(
                access_token=given["access_token"],
                refresh_token=given.get("refresh_token"),
                expires_at=now + timedelta(seconds=seconds) if 0 < seconds < _LONGEST else None,
                token_endpoint=self.token_endpoint,
            )
        except (KeyError, TypeError, ValueError, ValidationError):
            token = None
        if token is None:
            told = f"the token endpoint {self._host} did not answer with a token"
            raise ProtocolError(told, ErrorKind.INVALID_RESPONSE)
        return token


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token endpoint has no business elsewhere, and its clients' secrets have not either."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


def _json(body: bytes) -> Mapping[str, Any] | None:
    if len(body) > MAX_ANSWER:
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _numbers(answer: Mapping[str, Any] | None) -> str:
    """Microsoft's error numbers, by which its documentation tells the cause."""
    numbers = (answer or {}).get("error_codes")
    found = [n for n in numbers if isinstance(n, int) and 0 < n < 10**9] if isinstance(numbers, list) else []
    return f" (AADSTS{', AADSTS'.join(map(str, found[:3]))})" if found else ""
