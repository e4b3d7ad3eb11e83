"""Who a client is, and what proves it: a password, a token, or whoever gives the one of the moment.

Law: no secret shows in a repr, a complaint or a pickle. What a mechanism could not say is refused here already, where
it can be said before anybody connects.
"""

import enum
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    NoReturn,
    Protocol,
    Required,
    Self,
    TypeAlias,
    TypedDict,
    Unpack,
    runtime_checkable,
)

from pydantic import (
    AliasChoices,
    AwareDatetime,
    Field,
    GetPydanticSchema,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_core import core_schema

from smtp_transport.errors import AuthenticationError
from smtp_transport.fields import Frozen

REFRESH_EARLY: Final = timedelta(minutes=5)
"""A token that ends sooner is replaced before it is used: its end should not fall into a conversation."""

_NUL_OR_LINE_END = re.compile(r"[\x00\r\n]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN = re.compile(r"[\x21-\x7e]+")


class AuthMethod(enum.Enum):
    """A SASL mechanism that this client speaks, by its registered name."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    CRAM_MD5 = "CRAM-MD5"
    SCRAM_SHA_1 = "SCRAM-SHA-1"
    SCRAM_SHA_1_PLUS = "SCRAM-SHA-1-PLUS"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_256_PLUS = "SCRAM-SHA-256-PLUS"
    XOAUTH2 = "XOAUTH2"
    OAUTHBEARER = "OAUTHBEARER"
    EXTERNAL = "EXTERNAL"


class CredentialKind(enum.Enum):
    """What sort of secret it is; it decides which family of mechanisms may carry it."""

    PASSWORD = "password"  # noqa: S105 - the name of a kind, not a password
    TOKEN = "token"  # noqa: S105 - the same
    EXTERNAL = "external"
    """No secret at all: TLS has shown who we are, by a client certificate."""


class NotPickled:
    """Stays in its process: pickles end up in files, queues and other processes' tracebacks."""

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        """Refuse."""
        raise TypeError(f"{type(self).__name__} is not pickled, it holds a secret: build it where it is used")


class SecretModel(NotPickled, Frozen):
    """Immutable, closed to unknown names, silent about what it was given, and never pickled."""


class Credentials(SecretModel):
    """Who this client is, and the secret that proves it. Built by `password`, `token` or `external`.

    A token's `username` may be left out where the token says it: OAUTHBEARER then does without, XOAUTH2 cannot.
    """

    kind: CredentialKind = CredentialKind.PASSWORD
    # The defaults are for kinds that need none: what is given is never empty.
    username: str = Field(default="", min_length=1, max_length=512, repr=False)
    secret: SecretStr = Field(
        default=SecretStr(""),
        min_length=1,
        max_length=8192,
        validation_alias=AliasChoices("secret", "password", "access_token"),
    )

    @classmethod
    def password(cls, username: str, password: SecretStr | str) -> Self:
        """Take a user's name and password; `pydantic.ValidationError` if one is empty or holds NUL, CR or LF."""
        password = hidden(password)
        return cls(username=username, secret=password)

    @classmethod
    def token(cls, access_token: SecretStr | str, username: str | None = None) -> Self:
        """Take an OAuth 2.0 access token; `pydantic.ValidationError` if it holds what a token cannot (RFC 6750)."""
        access_token = hidden(access_token)
        told = {} if username is None else {"username": username}
        return cls(kind=CredentialKind.TOKEN, secret=access_token, **told)

    @classmethod
    def external(cls, identity: str | None = None) -> Self:
        """Be who the client certificate says, or act as another `identity` (RFC 4422 appendix A)."""
        return cls(kind=CredentialKind.EXTERNAL, **({} if identity is None else {"username": identity}))

    @field_validator("username", "secret")
    @classmethod
    def _is_one_line(cls, value: str | SecretStr) -> str | SecretStr:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if _NUL_OR_LINE_END.search(text):
            raise ValueError("NUL, CR and LF cannot be sent (RFC 4616); was it read from a file with its line end?")
        return value

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.kind is CredentialKind.PASSWORD and not (self.username and self.secret):
            raise ValueError("username, secret: a password needs both")
        if self.kind is CredentialKind.TOKEN:
            if not _TOKEN.fullmatch(self.secret.get_secret_value()):
                raise ValueError("secret: a token holds visible ASCII only (RFC 6750); give the access token alone")
            if _CONTROL.search(self.username):
                raise ValueError("username: with a token it cannot hold control characters, which separate its parts")
        if self.kind is CredentialKind.EXTERNAL and self.secret:
            raise ValueError("secret: EXTERNAL has none, TLS shows who this client is")
        return self


if TYPE_CHECKING:
    # What is taken is wider than what the fields hold; a caller's type checker hears it from here.
    class OAuth2TokenFields(TypedDict, total=False):
        """What `OAuth2Token` may be given."""

        access_token: Required[SecretStr | str]
        refresh_token: SecretStr | str | None
        expires_at: datetime | str | None
        token_endpoint: str | None


class OAuth2Token(SecretModel):
    """An access token, and what is known of its future. `expires_at` None: nobody said."""

    access_token: SecretStr = Field(min_length=1, max_length=8192)
    refresh_token: SecretStr | None = None
    expires_at: AwareDatetime | None = None
    token_endpoint: str | None = None

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[OAuth2TokenFields]) -> None:
            """Check the fields. Raises pydantic.ValidationError."""

    @field_validator("access_token")
    @classmethod
    def _can_be_sent(cls, token: SecretStr) -> SecretStr:
        if not _TOKEN.fullmatch(token.get_secret_value()):
            raise ValueError("a token holds visible ASCII only (RFC 6750)")
        return token

    def needs_refresh(self, now: datetime | None = None) -> bool:
        """Whether it ends within five minutes of `now`, or has ended."""
        return self.expires_at is not None and self.expires_at - REFRESH_EARLY <= (now or datetime.now(UTC))

    def has_ended(self, now: datetime | None = None) -> bool:
        """Whether it is of no more use."""
        return self.expires_at is not None and self.expires_at <= (now or datetime.now(UTC))


@runtime_checkable
class CredentialProvider(Protocol):
    """Gives credentials when a connection authenticates; accepted wherever `Credentials` are. Called by many threads.

    What it raises should be an `SmtpError`; anything else becomes an `AuthenticationError` that names its type alone.
    """

    def get_credentials(self) -> Credentials:
        """Give the credentials of the moment."""
        ...

    def refresh(self) -> bool:
        """Get new ones, because these end soon or a server refused them; False if there are none to be had."""
        ...

    def is_valid(self) -> bool:
        """Whether the ones at hand will do; if not, `refresh` is called before they are used."""
        ...

    def auth_method(self) -> AuthMethod | None:
        """Insist on a mechanism, or leave the choice (None). `SmtpConfig.auth_method` wins."""
        ...


_PROVIDER: Final = ("get_credentials", "refresh", "is_valid", "auth_method")


TokenLike: TypeAlias = str | SecretStr | OAuth2Token | Credentials
"""What a function that gives tokens may give."""


class CallableProvider(NotPickled):
    """Makes a provider of any function that gives a token: as text, as `OAuth2Token`, or as whole `Credentials`.

    The function is called for each authentication, and again when its token was refused; it caches if it wants to.
    """

    def __init__(self, fetch: Callable[[], TokenLike], username: str | None = None) -> None:
        self._fetch = fetch
        self._username = username

    def get_credentials(self) -> Credentials:
        """Call the function. Raises `AuthenticationError` if it gave no token."""
        given: Any = self._fetch()
        if isinstance(given, Credentials):
            return given
        token, kind = given.access_token if isinstance(given, OAuth2Token) else given, type(given).__name__
        if isinstance(token, str | SecretStr) and _TOKEN.fullmatch(hidden(token).get_secret_value()):
            return Credentials.token(token, self._username)
        del given, token  # tracebacks with local variables would show them
        told = "give the token as text of visible ASCII, an OAuth2Token, or Credentials"
        raise AuthenticationError(f"the function that gives credentials gave {kind}; {told}")

    def refresh(self) -> bool:
        """Say that the function may know a newer one."""
        return True

    def is_valid(self) -> bool:
        """Leave that to the function."""
        return True

    def auth_method(self) -> AuthMethod | None:
        """Leave the choice."""
        return None


def _source_of(value: Any, checked: Callable[[Any], Credentials]) -> Credentials | CredentialProvider:
    if isinstance(value, CredentialProvider):
        return value
    if callable(value):
        return CallableProvider(value)
    if not isinstance(value, Credentials | Mapping):
        raise ValueError(_missing(value))  # noqa: TRY004 - what pydantic makes a ValidationError of
    return checked(value)


def _missing(value: object) -> str:
    lacking = [name for name in _PROVIDER if not hasattr(value, name)]
    if len(lacking) < len(_PROVIDER):
        return f"a provider of credentials has {', '.join(lacking)} as well; see CredentialProvider"
    return "give Credentials.password(user, password) or another of Credentials, a provider, or a function for tokens"


def _shown(value: Any, dumped: Callable[[Any], Any]) -> Any:
    return dumped(value) if isinstance(value, Credentials) else type(value).__name__


CredentialSource = Annotated[
    Credentials | CredentialProvider,
    GetPydanticSchema(
        lambda _, handler: core_schema.no_info_wrap_validator_function(
            _source_of,
            handler.generate_schema(Credentials),
            serialization=core_schema.wrap_serializer_function_ser_schema(
                _shown, schema=handler.generate_schema(Credentials)
            ),
        )
    ),
]
"""Credentials, or whoever gives them: a `CredentialProvider`, or any function that gives a token."""


def hidden(text: SecretStr | str) -> SecretStr:
    """Wrap a secret, so that no repr, and no traceback that tells local variables, shows it."""
    return text if isinstance(text, SecretStr) else SecretStr(text)
