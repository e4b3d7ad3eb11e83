"""Each mechanism says what its RFC says, byte for byte, and takes nothing from a server that it may not take."""

import base64
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport.auth import MECHANISMS, choose, refusal
from smtp_transport.auth.bearer import oauthbearer, xoauth2
from smtp_transport.auth.cram import cram_md5
from smtp_transport.auth.external import external
from smtp_transport.auth.saslprep import saslprep
from smtp_transport.auth.scram import scram_sha_1, scram_sha_1_plus, scram_sha_256, scram_sha_256_plus
from smtp_transport.credentials import AuthMethod, CredentialKind, Credentials
from smtp_transport.errors import AuthenticationError, ErrorKind, ProtocolError
from smtp_transport.reply import Reply
from smtp_transport.sasl import ChannelBinding, SaslContext

USER = Credentials.password("user", "pencil")
TOKEN = Credentials.token("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", "user@example.com")
BINDING = ChannelBinding("tls-server-end-point", b"digest")

SHA_1 = "fyko+d2lbbFgONRv9qkxdawL"
SHA_1_FIRST = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
SHA_256 = "rOprNGfwEbeRWgbNEkqO"
SHA_256_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
SHA_256_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)


def context(nonce: str = "nonce", offered: tuple[str, ...] = (), binding: ChannelBinding | None = None) -> SaslContext:
    return SaslContext("server.example.com", 587, nonce, frozenset(offered), binding)


def test_cram_md5_answers_as_its_rfc_does() -> None:
    """F-AUTH-03: RFC 2195 section 2."""
    exchange = cram_md5(Credentials.password("tim", "tanstaaftanstaaf"), context())
    assert next(exchange) is None
    answer = exchange.send(b"<1896.697170952@postoffice.reston.mci.net>")
    assert answer == b"tim b913a602c7eda7a495b4e6e7334d3890"


def test_cram_md5_without_md5_is_no_mechanism(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise ValueError("[digital envelope routines] unsupported")

    monkeypatch.setattr("hmac.new", unsupported)
    exchange = cram_md5(USER, context())
    next(exchange)
    with pytest.raises(AuthenticationError, match="MD5") as caught:
        exchange.send(b"<1@mx>")
    assert caught.value.kind is ErrorKind.AUTH_METHOD_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("scram", "nonce", "server_first", "client_final", "server_final"),
    [
        (
            scram_sha_1,
            SHA_1,
            SHA_1_FIRST,
            b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (
            scram_sha_256,
            SHA_256,
            SHA_256_FIRST,
            SHA_256_FINAL,
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ],
    ids=["RFC 5802 section 5", "RFC 7677 section 3"],
)
def test_scram_says_what_its_rfc_says(scram, nonce, server_first, client_final, server_final) -> None:
    exchange = scram(USER, context(nonce))
    assert next(exchange) == f"n,,n=user,r={nonce}".encode()
    assert exchange.send(server_first) == client_final
    assert exchange.send(server_final) == b""
    with pytest.raises(StopIteration):
        exchange.send(b"")


@pytest.mark.parametrize(
    ("offered", "binding", "flag"),
    [
        (("SCRAM-SHA-256",), None, b"n,,"),
        (("SCRAM-SHA-256",), BINDING, b"y,,"),
        (("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"), BINDING, b"n,,"),
        (("SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"), BINDING, b"n,,"),
    ],
    ids=["cannot bind", "would have bound", "was told not to bind", "was told not to bind, by another name"],
)
@pytest.mark.parametrize("scram", [scram_sha_1, scram_sha_256])
def test_a_server_learns_whether_its_offer_of_binding_arrived(scram, offered, binding, flag) -> None:
    """RFC 5802 section 6: whoever took the offer away is found out."""
    assert next(scram(USER, context(offered=offered, binding=binding))).startswith(flag)


@pytest.mark.parametrize("scram", [scram_sha_1_plus, scram_sha_256_plus])
def test_a_bound_proof_names_the_binding_and_holds_it(scram) -> None:
    exchange = scram(USER, context(SHA_1, binding=BINDING))
    assert next(exchange).startswith(b"p=tls-server-end-point,,n=user")
    bound = exchange.send(SHA_1_FIRST).partition(b",")[0].removeprefix(b"c=")
    assert base64.b64decode(bound) == b"p=tls-server-end-point,,digest"
    with pytest.raises(AuthenticationError):
        scram(USER, context())


def test_binding_the_channel_comes_first_where_it_is_possible() -> None:
    """F-AUTH-06."""
    offered = ("PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")

    def chosen(*without: str, can_bind: bool = True) -> str:
        rest = [name for name in offered if name not in without]
        return choose(USER, rest, may_reveal_secret=True, can_bind=can_bind).name

    assert chosen() == "SCRAM-SHA-256-PLUS"
    assert chosen("SCRAM-SHA-256-PLUS") == "SCRAM-SHA-1-PLUS"
    assert chosen(can_bind=False) == "SCRAM-SHA-256"
    with pytest.raises(AuthenticationError, match="bound"):
        choose(USER, offered, may_reveal_secret=True, insist=AuthMethod.SCRAM_SHA_256_PLUS)


@pytest.mark.parametrize(
    ("challenge", "error"),
    [
        (SHA_1_FIRST.replace(b"r=fyko", b"r=FYKO"), AuthenticationError),
        (SHA_1_FIRST.replace(b"3rfcNHYJY1ZVvWVs7j", b""), AuthenticationError),
        (SHA_1_FIRST.replace(b"i=4096", b"i=4095"), AuthenticationError),
        (SHA_1_FIRST.replace(b"i=4096", b"i=2000001"), AuthenticationError),
        (SHA_1_FIRST.replace(b"i=4096", b"i=99999999999"), ProtocolError),
        (SHA_1_FIRST.replace(b"i=4096", b"i=-1"), ProtocolError),
        (SHA_1_FIRST.replace(b"QSXC", b"Q"), ProtocolError),
        (b"m=surprise," + SHA_1_FIRST, ProtocolError),
        (b"", ProtocolError),
        (b"\xff", ProtocolError),
        (b"e=unknown-user", AuthenticationError),
        (b"e=something-else", AuthenticationError),
    ],
)
def test_what_a_server_may_not_say_first_ends_scram(challenge: bytes, error: type[Exception]) -> None:
    exchange = scram_sha_1(USER, context(SHA_1))
    next(exchange)
    with pytest.raises(error):
        exchange.send(challenge)


@pytest.mark.parametrize(
    ("challenge", "error", "told"),
    [
        (b"v=rmG9pqV8S7suAoZWja4dJRkFsKQ=", AuthenticationError, "signature"),
        (b"v=", ProtocolError, "cannot be read"),
        (b"v=x", ProtocolError, "cannot be read"),
        (b"", AuthenticationError, "did not prove"),
        (b"e=invalid-proof", AuthenticationError, "did not accept"),
        (b"e=server-does-support-channel-binding", AuthenticationError, "on the way"),
        (b"e=channel-bindings-dont-match,x", AuthenticationError, "in between"),
    ],
)
def test_a_server_that_does_not_prove_itself_is_not_believed(challenge, error, told) -> None:
    exchange = scram_sha_1(USER, context(SHA_1))
    next(exchange)
    exchange.send(SHA_1_FIRST)
    with pytest.raises(error, match=told):
        exchange.send(challenge)


def test_a_name_is_escaped_where_commas_and_equal_signs_mean_something() -> None:
    assert next(scram_sha_1(Credentials.password("a=b,c", "x"), context())) == b"n,,n=a=3Db=2Cc,r=nonce"
    assert next(oauthbearer(Credentials.token("t", "a=b,c"), context())).startswith(b"n,a=a=3Db=2Cc,\x01")


@pytest.mark.parametrize(
    ("typed", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0007", None),
        ("\u0627\u0031", None),
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
        ("\u0627a\u0628", None),
        ("\U0001f600", None),  # not in Unicode 3.2
        ("", ""),
    ],
)
def test_names_and_passwords_are_prepared(typed: str, prepared: str | None) -> None:
    """RFC 4013 section 3."""
    assert saslprep(typed) == prepared


@given(st.text())
def test_what_was_prepared_needs_it_no_more(text: str) -> None:
    prepared = saslprep(text)
    assert prepared is None or saslprep(prepared) in {prepared, None}


def test_oauthbearer_says_what_its_rfc_says() -> None:
    """F-AUTH-05: RFC 7628 section 4."""
    said = next(oauthbearer(TOKEN, context()))
    assert base64.b64encode(said) == (
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk"
        b"52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    assert next(oauthbearer(Credentials.token("abc"), context())).startswith(b"n,,\x01host=")


def test_xoauth2_says_what_its_authors_say() -> None:
    """F-AUTH-04."""
    exchange = xoauth2(Credentials.token("ya29.token", "someuser@example.com"), context())
    assert next(exchange) == b"user=someuser@example.com\x01auth=Bearer ya29.token\x01\x01"
    assert exchange.send(b"{}") == b""


def test_external_names_nobody_or_whom_to_act_as() -> None:
    assert next(external(Credentials.external(), context())) == b""
    assert next(external(Credentials.external("böb"), context())) == "böb".encode()


def test_a_tokens_mechanism_is_chosen_by_the_token() -> None:
    """F-AUTH-06."""
    everything = tuple(m.name for m in MECHANISMS)
    assert choose(TOKEN, everything, may_reveal_secret=True).name == "OAUTHBEARER"
    assert choose(TOKEN, ("XOAUTH2", "PLAIN"), may_reveal_secret=True).name == "XOAUTH2"
    assert choose(Credentials.external(), everything, may_reveal_secret=False).name == "EXTERNAL"
    assert choose(USER, everything, may_reveal_secret=False).name == "SCRAM-SHA-256"
    for fields in ({"may_reveal_secret": False}, {"may_reveal_secret": True, "insist": AuthMethod.PLAIN}):
        with pytest.raises(AuthenticationError):
            choose(TOKEN, everything, **fields)
    with pytest.raises(AuthenticationError, match="user name"):
        choose(Credentials.token("abc"), ("XOAUTH2",), may_reveal_secret=True)


PROVIDERS_WORD = b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/","token":"s3cret"}'


@pytest.mark.parametrize(
    ("texts", "challenge"),
    [((), PROVIDERS_WORD), ((base64.b64encode(PROVIDERS_WORD).decode(),), b""), (("see", "above"), PROVIDERS_WORD)],
    ids=["in the challenge", "in the reply", "in the challenge, with words"],
)
def test_the_providers_reason_is_told_without_its_secrets(texts: tuple[str, ...], challenge: bytes) -> None:
    """F-AUTH-04."""
    error = refusal(Reply(535, "5.7.8", texts), TOKEN, challenge)
    assert "status 400, schemes Bearer, scope https://mail.google.com/" in str(error)
    assert "s3cret" not in str(error)


@pytest.mark.parametrize(
    "told",
    [
        b'{"status": "' + TOKEN.secret.get_secret_value().encode() + b'"}',
        b'{"scope": "user@example.com"}',
        b'{"scope": "' + b"x" * 201 + b'"}',
        b'{"status": ["a"]}',
        b'{"status": "a\\u001b[2J"}',
        b"[" * 100_000,
        b"{",
        b"[]",
    ],
)
def test_what_a_provider_should_not_say_is_not_repeated(told: bytes) -> None:
    """NF-SEC-01."""
    assert str(refusal(Reply(535), TOKEN, told)) == str(refusal(Reply(535)))


def test_a_passwords_refusal_repeats_nothing() -> None:
    assert "Bearer" not in str(refusal(Reply(535), USER, PROVIDERS_WORD))


CHALLENGES = st.lists(
    st.one_of(
        st.binary(max_size=80),
        st.sampled_from([SHA_1_FIRST, b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", b"e=other", PROVIDERS_WORD]),
        st.from_regex(
            rb"r=fyko\+d2lbbFgONRv9qkxdawL[!-~]*,s=[A-Za-z0-9+/=]*,i=4[01]9[0-9](,[a-z]=.*)?", fullmatch=True
        ),
    ),
    max_size=4,
)


@given(challenges=CHALLENGES, mechanism=st.sampled_from(MECHANISMS))
def test_no_challenge_makes_anything_but_an_answer_or_a_typed_error(challenges, mechanism) -> None:
    credentials = {CredentialKind.TOKEN: TOKEN, CredentialKind.EXTERNAL: Credentials.external()}.get(
        mechanism.takes, USER
    )
    exchange = mechanism.start(credentials, context(SHA_1, binding=BINDING))
    told, kind = "", ErrorKind.AUTHENTICATION
    try:
        next(exchange)
        for challenge in challenges:
            assert isinstance(exchange.send(challenge), bytes)
    except StopIteration:
        pass
    except (AuthenticationError, ProtocolError) as error:
        kind = error.kind
        told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert kind in {ErrorKind.AUTHENTICATION, ErrorKind.CREDENTIALS_INVALID, ErrorKind.INVALID_RESPONSE}
    assert "pencil" not in told
