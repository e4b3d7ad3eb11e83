import datetime as dt
import ssl

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from smtp_transport import ErrorKind, Phase, SmtpError, SmtpTimeoutError, TlsConfig, TlsError
from smtp_transport.stream import tcp
from smtp_transport.testing import (
    Behave,
    Expect,
    FaultServer,
    Raw,
    ReadSome,
    Reset,
    Say,
    Stall,
    StartTls,
    behaved,
    greeted,
)
from smtp_transport.tls import Handshake, context_for, explain
from tests.wire.sink import Sink

IMPLICIT = (StartTls(), *behaved())
PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
FUTURE = dt.datetime(2090, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def trusting(ca_file):
    """Fields of a configuration that trusts the test's own authority."""
    return {"host": "localhost", "tls_config": TlsConfig(ca_certs=ca_file)}


def refusal_of(client) -> TlsError:
    with pytest.raises(TlsError) as refused:
        client.test_connection()
    assert refused.value.phase is not None
    return refused.value


def test_starttls_encrypts_before_anything_is_told(client_for, email, issued, trusting):
    """F-TLS-01."""
    with Sink(tls=issued()) as sink:
        client = client_for(sink, tls="starttls", **trusting)
        assert client.send(email()).is_complete_success
        assert client.connection_info().tls_version == "TLSv1.3"
    assert sink.taken[0].recipients == ["you@example.org"]


def test_what_was_offered_before_tls_is_forgotten(client_for, issued, trusting):
    """F-TLS-01."""
    script = [
        *greeted("STARTTLS", "SIZE 1", "DSN"),
        Expect("STARTTLS"),
        Say("220 go"),
        StartTls(),
        Behave(("PIPELINING",)),
    ]
    with FaultServer(script, tls=issued()) as server:
        capabilities = client_for(server, tls="starttls", **trusting).test_connection().capabilities
    assert capabilities.pipelining
    assert not capabilities.dsn
    assert capabilities.max_size is None


def test_tls_from_the_first_byte(client_for, email, issued, trusting):
    """F-TLS-02."""
    with Sink(tls=issued(), implicit=True) as sink:
        client = client_for(sink, tls="implicit", **trusting)
        assert client.send(email()).is_complete_success
        assert client.connection_info().tls_active


def test_a_private_authority_is_trusted_when_it_is_named_and_only_then(client_for, issued, ca_file, tmp_path, ca):
    """F-TLS-05."""
    folder = tmp_path / "hashed"
    folder.mkdir()
    context = ssl.create_default_context(cafile=str(ca_file))
    # OpenSSL finds a certificate in a folder by the hash of its subject.
    (folder / f"{_subject_hash(context)}.0").write_bytes(ca_file.read_bytes())
    with FaultServer(IMPLICIT, tls=issued()) as server:
        for trusted in (ca_file, (ca_file,), folder):
            config = TlsConfig(ca_certs=trusted)
            assert client_for(server, host="localhost", tls="implicit", tls_config=config).test_connection().tls_active
        assert refusal_of(client_for(server, host="localhost", tls="implicit")).kind is ErrorKind.CERTIFICATE_UNTRUSTED


def _subject_hash(context: ssl.SSLContext) -> str:
    import subprocess  # noqa: PLC0415 - only here

    pem = ssl.DER_cert_to_PEM_cert(context.get_ca_certs(binary_form=True)[0])
    told = subprocess.run(["openssl", "x509", "-hash", "-noout"], input=pem, capture_output=True, text=True, check=True)
    return told.stdout.strip()


@pytest.mark.parametrize(
    ("certificate", "kind", "cure"),
    [
        ({"name": "other.example"}, ErrorKind.CERTIFICATE_INVALID, "server_name"),
        ({"not_before": PAST, "not_after": PAST}, ErrorKind.CERTIFICATE_EXPIRED, "renew"),
        ({"not_before": FUTURE, "not_after": FUTURE}, ErrorKind.CERTIFICATE_INVALID, "clock"),
    ],
)
def test_a_certificate_that_proves_nothing_is_refused_with_its_cause(
    client_for, issued, trusting, certificate, kind, cure
):
    """F-TLS-03, NF-SEC-03."""
    options = {"name": "localhost"} | certificate
    with FaultServer(IMPLICIT, tls=issued(options.pop("name"), **options)) as server:
        error = refusal_of(client_for(server, tls="implicit", **trusting))
    assert error.kind is kind
    assert cure in error.message
    assert error.phase is Phase.TLS
    assert f"localhost:{server.port}" in error.message


def test_the_same_certificate_is_refused_after_starttls(client_for, issued, trusting):
    """F-TLS-03."""
    with FaultServer(behaved("STARTTLS"), tls=issued("other.example")) as server:
        error = refusal_of(client_for(server, tls="starttls", **trusting))
    assert (error.kind, error.phase) == (ErrorKind.CERTIFICATE_INVALID, Phase.TLS)
    assert server.conversations[0].verbs == ["EHLO", "STARTTLS"]


def test_a_self_signed_certificate_is_refused_unless_it_is_named_or_anything_goes(client_for, tmp_path, ca, ca_file):
    """F-TLS-03."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = tmp_path / "pair.pem"
    pair.write_bytes(ca.private_key_pem.bytes() + ca.cert_pem.bytes())
    context.load_cert_chain(pair)
    named = TlsConfig(ca_certs=ca_file, verify_hostname=False)
    anything = TlsConfig(accept_invalid_certs=True)
    with FaultServer(IMPLICIT, tls=context) as server:
        error = refusal_of(client_for(server, host="localhost", tls="implicit"))
        for config in (named, anything):
            assert client_for(server, tls="implicit", tls_config=config).test_connection().tls_active
    assert error.kind is ErrorKind.CERTIFICATE_UNTRUSTED
    assert "self-signed" in error.message


def test_the_name_to_check_may_be_another_than_the_host(client_for, issued, ca_file):
    with FaultServer(IMPLICIT, tls=issued("mail.example.com")) as server:
        config = TlsConfig(ca_certs=ca_file, server_name="mail.example.com")
        assert client_for(server, tls="implicit", tls_config=config).test_connection().tls_active


def test_chain_and_name_have_separate_switches(client_for, issued, ca_file):
    with FaultServer(IMPLICIT, tls=issued("mail.example.com")) as server:
        for config in (
            TlsConfig(ca_certs=ca_file, verify_hostname=False),
            TlsConfig(verify_certificates=False, verify_hostname=False),
        ):
            assert client_for(server, tls="implicit", tls_config=config).test_connection().tls_active
        chain_only = TlsConfig(verify_hostname=False)
        assert refusal_of(client_for(server, tls="implicit", tls_config=chain_only)).kind is (
            ErrorKind.CERTIFICATE_UNTRUSTED
        )


def test_a_server_with_old_tls_is_refused(client_for, issued, trusting, ca_file):
    """F-TLS-04, NF-SEC-02."""
    context = issued()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with FaultServer(IMPLICIT, tls=context) as server:
        assert client_for(server, tls="implicit", **trusting).test_connection().tls_version == "TLSv1.2"
        strict = {"host": "localhost", "tls_config": TlsConfig(ca_certs=ca_file, min_version="TLSv1.3")}
        error = refusal_of(client_for(server, tls="implicit", **strict))
    assert error.kind is ErrorKind.TLS_VERSION_MISMATCH


@pytest.mark.filterwarnings("ignore:.*TLSv1:DeprecationWarning")
def test_broken_versions_of_tls_are_spoken_only_on_demand(client_for, issued, trusting, ca_file):
    """F-TLS-04, NF-SEC-02."""
    context = issued()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    on_demand = TlsConfig(ca_certs=ca_file, min_version="TLSv1", allow_obsolete_versions=True)
    with FaultServer(IMPLICIT, tls=context) as server:
        assert refusal_of(client_for(server, tls="implicit", **trusting)).kind is ErrorKind.TLS_VERSION_MISMATCH
        client = client_for(server, host="localhost", tls="implicit", tls_config=on_demand)
        assert client.test_connection().tls_version == "TLSv1.1"


def test_a_port_that_speaks_plain_smtp_is_told_apart(client_for, trusting):
    with FaultServer([Say("220 plain.test ESMTP")], strict=False) as server:
        error = refusal_of(client_for(server, tls="implicit", **trusting))
    assert error.kind is ErrorKind.TLS_HANDSHAKE_FAILED
    assert "starttls" in error.message


def test_the_cure_is_told_too_if_openssl_read_the_greeting_before_anybody_looked(client_for, trusting, monkeypatch):
    monkeypatch.setattr(tcp, "_peek", lambda _: b"")
    with FaultServer([Say("220 plain.test ESMTP")], strict=False) as server:
        error = refusal_of(client_for(server, tls="implicit", **trusting))
    assert error.kind is ErrorKind.TLS_HANDSHAKE_FAILED
    assert "if it speaks SMTP, use tls='starttls'" in error.message


@pytest.mark.parametrize(
    ("heard", "told"),
    [(b"220 mx.t", "this port speaks plain SMTP"), (b"SSH-2.0-", "nor SMTP"), (b"", "if it speaks SMTP")],
)
def test_what_a_port_said_first_tells_what_it_speaks(heard, told):
    error = ssl.SSLError(1, "wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    assert told in explain(error, Handshake("mx.test", implicit=True, heard=heard)).message


def test_a_server_that_greeted_plainly_and_hung_up_is_told_apart_as_well():
    error = explain(ConnectionResetError(), Handshake("mx.test", implicit=True, heard=b"220 mx.t"))
    assert "this port speaks plain SMTP" in error.message


def test_a_server_that_breaks_its_word_after_starttls_is_left(client_for, trusting):
    script = [*greeted("STARTTLS"), Expect("STARTTLS"), Say("220 go"), Raw(b"250 all is well\r\n")]
    with FaultServer(script, strict=False) as server, pytest.raises(SmtpError) as refused:
        client_for(server, tls="starttls", **trusting).test_connection()
    assert refused.value.phase in {Phase.STARTTLS, Phase.TLS}


def test_plaintext_behind_the_220_is_an_injection(client_for, trusting, issued):
    """NF-SEC-04."""
    script = [*greeted("STARTTLS"), Expect("STARTTLS"), Say("220 go", "250-fault.test", "250 SIZE 1"), StartTls()]
    with FaultServer(script, tls=issued(), strict=False) as server, pytest.raises(SmtpError) as refused:
        client_for(server, tls="starttls", **trusting).test_connection()
    assert refused.value.phase in {Phase.STARTTLS, Phase.TLS}
    assert server.conversations[0].tls_version is None


@pytest.mark.parametrize("end", [(ReadSome(1), Reset()), (Stall(),)])
@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_a_handshake_that_comes_to_nothing_ends_in_time(client_for, trusting, end, mode):
    opening = [] if mode == "implicit" else [*greeted("STARTTLS"), Expect("STARTTLS"), Say("220 go")]
    with FaultServer([*opening, *end]) as server:
        client = client_for(server, tls=mode, connect_timeout=0.4, io_timeout=0.4, **trusting)
        with pytest.raises((TlsError, SmtpTimeoutError)) as failed:
            client.test_connection()
    assert failed.value.phase is Phase.TLS
    assert failed.value.is_retryable
    assert "TLS" in str(failed.value)


def test_mail_does_not_go_in_clear_text_because_starttls_was_not_offered(client_for, email):
    with FaultServer(behaved()) as server, pytest.raises(TlsError) as refused:
        client_for(server, tls="starttls").send(email())
    assert refused.value.kind is ErrorKind.STARTTLS_NOT_SUPPORTED
    assert "MAIL" not in server.conversations[0].verbs


def test_opportunistic_tls_is_used_where_it_is_offered(client_for, email, issued, trusting):
    with FaultServer(behaved("STARTTLS"), behaved(), tls=issued()) as server:
        for encrypted in (True, False):
            client = client_for(server, tls="opportunistic", **trusting)
            client.send(email())
            assert client.connection_info().tls_active is encrypted


@pytest.fixture
def client_pair(ca, tmp_path):
    identity = ca.issue_cert("client@example.com")
    path = tmp_path / "client.pem"
    identity.private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


def test_a_client_proves_itself_with_a_certificate(client_for, issued, ca, ca_file, client_pair):
    context = issued()
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    with FaultServer(IMPLICIT, tls=context) as server:
        config = TlsConfig(ca_certs=ca_file, client_cert_path=client_pair)
        client = client_for(server, host="localhost", tls="implicit", tls_config=config)
        assert client.test_connection().tls_active


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_missing_client_certificate_is_told(client_for, issued, ca, trusting, version):
    context = issued()
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    with FaultServer(IMPLICIT, tls=context) as server:
        error = refusal_of(client_for(server, tls="implicit", **trusting))
    assert error.kind is ErrorKind.TLS_HANDSHAKE_FAILED
    assert "client_cert_path" in error.message


def test_files_that_hold_no_certificate_are_named(tmp_path, client_pair):
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("not a certificate")
    for config, field in (
        (TlsConfig(ca_certs=nonsense), "ca_certs"),
        (TlsConfig(client_cert_path=nonsense), "client_cert_path"),
        (TlsConfig(client_cert_path=client_pair, client_key_path=nonsense), "client_cert_path"),
    ):
        with pytest.raises(TlsError) as refused:
            context_for(config)
        assert field in refused.value.message
        assert "nonsense.pem" in refused.value.message or field == "client_cert_path"


def test_an_encrypted_key_is_refused_and_no_passphrase_asked_for(tmp_path, ca):
    identity = ca.issue_cert("client@example.com")
    key = serialization.load_pem_private_key(identity.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    path = tmp_path / "locked.pem"
    path.write_bytes(encrypted + identity.cert_chain_pems[0].bytes())
    with pytest.raises(TlsError) as refused:
        context_for(TlsConfig(client_cert_path=path))
    assert "passphrase" in refused.value.message


def test_files_that_were_renewed_are_read_again(client_for, issued, ca, tmp_path):
    """A certificate that lives for days is renewed while the program runs, and under the same name."""
    mine, theirs = tmp_path / "mine.pem", tmp_path / "theirs.pem"
    stranger = trustme.CA()
    for authority in (stranger, ca):
        authority.cert_pem.write_to_path(str(theirs))
        identity = authority.issue_cert("client@example.com").private_key_and_cert_chain_pem.bytes()
        mine.with_suffix(".new").write_bytes(identity)
        mine.with_suffix(".new").rename(mine)
        context = issued()
        context.verify_mode = ssl.CERT_REQUIRED
        ca.configure_trust(context)
        config = TlsConfig(ca_certs=theirs, client_cert_path=mine)
        with FaultServer(IMPLICIT, tls=context, strict=False) as server:
            client = client_for(server, host="localhost", tls="implicit", tls_config=config)
            if authority is stranger:
                assert refusal_of(client).kind is ErrorKind.CERTIFICATE_UNTRUSTED
            else:
                assert client.test_connection().tls_active


def test_equal_configurations_share_a_context(ca_file):
    assert context_for(TlsConfig(ca_certs=ca_file)) is context_for(TlsConfig(ca_certs=[ca_file]))
    assert context_for(TlsConfig(ca_certs=ca_file)) is not context_for(TlsConfig())
