"""What a caller may hand over by mistake, or past the checks: a clear error, and nothing of it on the wire."""

import time
import traceback

import pytest
from pydantic import ValidationError

from smtp_transport import Connection, Credentials, ErrorKind, SmtpConfig, SmtpError, SmtpSession, TlsConfig
from smtp_transport.errors import AuthenticationError, MessageError, SmtpConnectionError, TlsError
from smtp_transport.stream.dial import dial
from smtp_transport.stream.opening import connect
from smtp_transport.testing import Behave, FaultServer, Say, behaved
from smtp_transport.tls import context_for

SECRET = "correct horse"


def deadline():
    return time.monotonic() + 30


class Careless:
    """A mechanism that yields what it should not."""

    name = "X-CARELESS"

    def __init__(self, first, *answers):
        self._first, self._answers = first, answers

    def start(self, credentials, context):
        yield self._first
        for answer in self._answers:
            challenge = yield answer
            assert challenge is not None


@pytest.mark.parametrize("answers", [(SECRET,), (None, SECRET), (7,), (b"fine", [SECRET])])
def test_a_mechanism_that_yields_no_bytes_is_told_of_and_its_words_are_not(config_for, answers):
    """NF-SEC-01."""
    replies = {"AUTH": "334 ", SECRET: "235 ok"}
    with FaultServer(behaved("AUTH X-CARELESS", replies=replies)) as server:
        config = config_for(server, credentials=Credentials.password("me", "other"), mechanisms=(Careless(*answers),))
        with pytest.raises(AuthenticationError, match="bytes") as caught:
            Connection.open(config)
    shown = [
        f"{name}={value!r}"
        for frame, _ in traceback.walk_tb(caught.value.__traceback__)
        if "smtp_transport" in frame.f_code.co_filename
        for name, value in frame.f_locals.items()
    ]
    assert shown
    assert not any(SECRET in local for local in shown)


@pytest.mark.parametrize("host", ["relay.example\r\nX-Evil: yes", "relay.example HTTP/1.1", "rel\0ay", "r\u00e9lai"])
@pytest.mark.parametrize("kind", ["http", "socks5"])
def test_a_host_that_went_past_the_checks_is_not_said_to_a_proxy(host, kind):
    """NF-SEC-04."""
    with FaultServer([Say("nothing"), Behave()]) as proxy:
        checked = SmtpConfig(host="relay.example", proxy=f"{kind}://{proxy.host}:{proxy.port}")
        told = {name: getattr(checked, name) for name in SmtpConfig.model_fields} | {"host": host}
        with pytest.raises(SmtpConnectionError, match="no host name") as caught:
            connect(SmtpConfig.model_construct(**told), deadline())
    assert caught.value.kind is ErrorKind.DNS_RESOLUTION_FAILED
    assert not any(conversation.commands for conversation in proxy.conversations)


@pytest.mark.parametrize("host", ["a..b.example", "x" * 64 + ".example", "\u00e9" * 70])
def test_a_host_that_no_resolver_can_be_asked_for_is_not_resolved(host):
    with pytest.raises(SmtpError) as caught:
        dial(host, 25, deadline())
    assert caught.value.kind is ErrorKind.DNS_RESOLUTION_FAILED


@pytest.mark.parametrize("name", ["mx.example.com.", "fe80::1%eth0"])
def test_the_name_to_be_proven_is_one_that_a_certificate_can_bear(name):
    assert SmtpConfig(host=name).server_name == name.rstrip(".").partition("%")[0]
    assert SmtpConfig(host="x", tls_config=TlsConfig(server_name="mx.example.com.")).server_name == "mx.example.com"


def test_a_proxy_that_wants_tls_is_refused_with_what_to_do():
    with pytest.raises(ValidationError, match="give its http:// port"):
        SmtpConfig(host="mx.example.com", proxy="https://me:correct@proxy.example:3128")


@pytest.mark.parametrize("files", [(), ("ca.pem",), ("0123456.0", "hashed.0")])
def test_a_folder_of_authorities_that_openssl_would_find_empty_is_refused(tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("nothing")
    with pytest.raises(TlsError, match="openssl rehash") as caught:
        context_for(TlsConfig(ca_certs=tmp_path))
    assert caught.value.kind is ErrorKind.CERTIFICATE_INVALID


def test_text_that_utf_8_cannot_write_is_no_message(config_for):
    with FaultServer(behaved()) as server:
        config = config_for(server)
        with SmtpSession.connect(connect(config, deadline()), config) as session:
            with pytest.raises(MessageError, match="surrogate"):
                session.send_mail("me@example.com", ["you@example.org"], "Subject: \ud800\r\n\r\n")
            assert session.send_mail("me@example.com", ["you@example.org"], "Subject: x\r\n\r\n").accepted
