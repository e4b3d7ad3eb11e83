"""Every mechanism against a server by others (aiosmtpd), over real TLS, bound to its channel where it can be."""

import base64
import hashlib
import hmac
import ssl
from datetime import UTC, datetime
from unittest.mock import create_autospec

import pytest
from aiosmtpd.smtp import MISSING, AuthResult
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateBuilder, Name, random_serial_number

from smtp_transport import AuthenticationError, AuthMethod, Credentials, ErrorKind, Phase, TlsConfig
from smtp_transport.channel_binding import channel_binding, end_point
from tests.wire.scram_server import ScramServer
from tests.wire.sink import Sink

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
PASSWORD = Credentials.password("user", "pencil")
TOKEN = Credentials.token("to-ken", "me@example.com")
ALL = ("LOGIN", "PLAIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER", "EXTERNAL")
SCRAM = ("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")
END_POINT = "tls-server-end-point"
REASON = b'{"status":"invalid_token","scope":"https://mail.example.com/"}'


class Mechanisms(Sink):
    """Takes user/pencil, or the token, or whoever comes by EXTERNAL; `binding` as in ScramServer."""

    binding: tuple[bytes, bytes] | None = None
    silent = False
    token = b"to-ken"

    async def auth_CRAM__MD5(self, server, args):  # noqa: N802 - aiosmtpd's name
        challenge = b"<1.2@sink.test>"
        answer = await server.challenge_auth(challenge)
        digest = hmac.new(b"pencil", challenge, "md5").hexdigest()
        return self.judged(args, answer == f"user {digest}".encode())

    async def auth_EXTERNAL(self, server, args):  # noqa: N802 - as above
        return self.judged(args, args[1:] == ["="])

    async def auth_XOAUTH2(self, server, args):  # noqa: N802 - as above
        return await self.bearer(server, args, b"user=me@example.com\x01auth=Bearer %b\x01\x01", b"")

    async def auth_OAUTHBEARER(self, server, args):  # noqa: N802 - as above
        where = b"host=localhost\x01port=%d\x01" % self.port
        return await self.bearer(server, args, b"n,a=me@example.com,\x01" + where + b"auth=Bearer %b\x01\x01", b"\x01")

    async def bearer(self, server, args, form, after):
        # A long token does not fit behind AUTH and comes as the answer to an empty challenge.
        said = base64.b64decode(args[1]) if args[1:] else await server.challenge_auth("")
        if said == form.replace(b"%b", self.token):
            return self.judged(args, True)
        assert await server.challenge_auth(REASON) == after
        return self.judged(args, False)

    async def auth_SCRAM__SHA__1(self, server, args):  # noqa: N802 - as above
        return await self.scram(server, args, "sha1")

    async def auth_SCRAM__SHA__256(self, server, args):  # noqa: N802 - as above
        return await self.scram(server, args, "sha256")

    async def auth_SCRAM__SHA__1__PLUS(self, server, args):  # noqa: N802 - as above
        return await self.scram(server, args, "sha1")

    async def auth_SCRAM__SHA__256__PLUS(self, server, args):  # noqa: N802 - as above
        return await self.scram(server, args, "sha256")

    async def scram(self, server, args, digest):
        talk = ScramServer(digest, b"user", b"pencil", self.binding).talk(
            base64.b64decode(args[1]), plus=args[0].endswith("-PLUS")
        )
        answer = None
        try:
            while True:
                challenge = talk.send(answer)
                if self.silent and challenge.startswith(b"v="):
                    return self.judged(args, True)
                answer = await server.challenge_auth(challenge)
                if answer is MISSING:
                    return AuthResult(success=False, handled=True)
        except StopIteration as end:
            return self.judged(args, not end.value)

    def judged(self, args, success):
        self.logins.append(args[0])
        return AuthResult(success=success, handled=False)


def without(*kept: str) -> tuple[str, ...]:
    return tuple(name for name in (*ALL, *SCRAM) if name not in kept)


@pytest.fixture
def sink_with():
    """Give a server that offers these mechanisms alone."""
    return lambda *offered, **fields: Mechanisms(user=(b"", b""), without_mechanisms=without(*offered), **fields)


@pytest.mark.parametrize(
    ("method", "credentials"),
    [
        (AuthMethod.CRAM_MD5, PASSWORD),
        (AuthMethod.SCRAM_SHA_1, PASSWORD),
        (AuthMethod.SCRAM_SHA_256, PASSWORD),
        (AuthMethod.XOAUTH2, TOKEN),
        (AuthMethod.OAUTHBEARER, TOKEN),
        (AuthMethod.EXTERNAL, Credentials.external()),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_a_server_written_by_others_takes_each_mechanism(client_for, email, sink_with, method, credentials):
    """F-AUTH-03, F-AUTH-04, F-AUTH-05, F-AUTH-06."""
    with sink_with(method.value) as sink:
        client = client_for(sink, host="localhost", credentials=credentials)
        assert client.send(email()).is_complete_success
    assert sink.logins == [method.value]


@pytest.mark.parametrize(
    ("method", "credentials"),
    [
        (AuthMethod.CRAM_MD5, Credentials.password("user", "wrong-one")),
        (AuthMethod.SCRAM_SHA_1, Credentials.password("user", "wrong-one")),
        (AuthMethod.SCRAM_SHA_256, Credentials.password("else", "pencil")),
        (AuthMethod.XOAUTH2, Credentials.token("wrong-one", "me@example.com")),
        (AuthMethod.OAUTHBEARER, Credentials.token("wrong-one", "me@example.com")),
        (AuthMethod.EXTERNAL, Credentials.external("else")),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_what_is_wrong_is_refused_and_not_repeated(client_for, email, sink_with, method, credentials):
    """F-AUTH-03, F-AUTH-04, F-AUTH-05, NF-SEC-01."""
    with sink_with(method.value) as sink, pytest.raises(AuthenticationError) as refused:
        client_for(sink, host="localhost", credentials=credentials).send(email())
    error = refused.value
    assert (error.kind, error.code, error.phase) == (ErrorKind.CREDENTIALS_INVALID, 535, Phase.AUTH)
    assert "wrong-one" not in f"{error} {error!r}"
    assert ("status invalid_token" in str(error)) == (method in {AuthMethod.XOAUTH2, AuthMethod.OAUTHBEARER})
    assert sink.taken == []


def test_a_token_too_long_for_its_line_is_taken_too(client_for, email, sink_with):
    """F-AUTH-04."""
    with sink_with("XOAUTH2") as sink:
        sink.token = b"x" * 650
        client = client_for(sink, credentials=Credentials.token("x" * 650, "me@example.com"))
        assert client.send(email()).is_complete_success


def test_a_token_refused_by_the_server_is_renewed_once(client_for, email, sink_with):
    """F-AUTH-04."""
    tokens = iter(["old", "old", "to-ken"])
    with sink_with("XOAUTH2") as sink:
        client = client_for(sink, credentials=lambda: Credentials.token(next(tokens), "me@example.com"))
        assert client.send(email()).is_complete_success
    assert sink.logins == ["XOAUTH2", "XOAUTH2"]


@pytest.fixture
def bound(ca, ca_file):
    """Give a server that binds to its channel, and the configuration that trusts it."""
    certificate = ca.issue_cert("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())

    def make(*offered: str) -> tuple[Mechanisms, dict[str, object]]:
        sink = Mechanisms(user=(b"", b""), without_mechanisms=without(*offered), tls=context)
        sink.binding = (b"tls-server-end-point", hashlib.sha256(der).digest())
        return sink, {"host": "localhost", "tls": "starttls", "tls_config": TlsConfig(ca_certs=ca_file)}

    return make


@pytest.mark.parametrize("method", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
def test_a_password_is_bound_to_its_tls_connection(client_for, email, bound, method):
    """F-AUTH-06: RFC 5802 section 6, RFC 5929 section 4."""
    sink, trusting = bound(method, "SCRAM-SHA-256", "PLAIN")
    with sink:
        assert client_for(sink, credentials=PASSWORD, **trusting).send(email()).is_complete_success
    assert sink.logins == [method]


def test_another_ends_channel_is_noticed(client_for, email, bound):
    sink, trusting = bound("SCRAM-SHA-256-PLUS")
    sink.binding = (b"tls-server-end-point", b"somebody sits in between")
    with sink, pytest.raises(AuthenticationError, match="or not their binding by tls-server-end-point"):
        client_for(sink, credentials=PASSWORD, **trusting).send(email())
    assert sink.taken == []


def test_an_offer_that_was_shortened_on_the_way_is_noticed(client_for, email, bound):
    """RFC 5802 section 6: the client says that it would have bound the channel, and the server knows better."""
    sink, trusting = bound("SCRAM-SHA-256")
    with sink, pytest.raises(AuthenticationError):
        client_for(sink, credentials=PASSWORD, **trusting).send(email())
    with sink.__class__(user=(b"", b""), without_mechanisms=without("SCRAM-SHA-256"), tls=sink.tls) as honest:
        assert client_for(honest, credentials=PASSWORD, **trusting).send(email()).is_complete_success


def test_a_server_that_does_not_prove_itself_gets_no_mail(client_for, email, sink_with):
    with sink_with("SCRAM-SHA-256") as sink:
        sink.silent = True
        with pytest.raises(AuthenticationError, match="did not prove"):
            client_for(sink, credentials=PASSWORD).send(email())
    assert sink.taken == []


def self_signed(digest: hashes.HashAlgorithm | None) -> bytes:
    key = ed25519.Ed25519PrivateKey.generate() if digest is None else ec.generate_private_key(ec.SECP256R1())
    when = datetime(2026, 1, 1, tzinfo=UTC)
    builder = CertificateBuilder(Name([]), Name([]), key.public_key(), random_serial_number(), when, when)
    return builder.sign(key, digest).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("digest", "expected"),
    [(hashes.SHA256(), hashlib.sha256), (hashes.SHA384(), hashlib.sha384), (hashes.SHA3_256(), hashlib.sha3_256)],
)
def test_an_end_point_is_the_hash_that_its_certificate_is_signed_with(digest, expected):
    """RFC 5929 section 4.1."""
    der = self_signed(digest)
    assert end_point(der).kind == "tls-server-end-point"
    assert end_point(der).data == expected(der).digest()


@pytest.mark.parametrize(
    ("version", "exported", "kind"),
    [("TLSv1.3", b"x" * 32, "tls-exporter"), ("TLSv1.3", None, END_POINT), ("TLSv1.2", b"x" * 32, END_POINT)],
)
def test_the_exporter_binds_where_python_offers_it(monkeypatch, version, exported, kind):
    """RFC 9266: no Python up to 3.14 does, so this one is told that it did."""
    monkeypatch.setattr(ssl, "CHANNEL_BINDING_TYPES", ["tls-unique", "tls-exporter"])
    link = create_autospec(ssl.SSLSocket, instance=True)
    link.version.return_value = version
    link.get_channel_binding.return_value = exported
    link.getpeercert.return_value = self_signed(hashes.SHA256())
    assert channel_binding(link).kind == kind


def test_an_end_point_without_a_hash_is_none():
    assert end_point(self_signed(None)) is None
    assert end_point(b"no certificate") is None
