"""The client takes what other programs made, signs what it sends, and steps down for servers that know less."""

from email import message_from_bytes
from email.message import EmailMessage

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from smtp_transport import DkimSigner, Email, ErrorKind, MessageError, RawEmail, SendResult, SmtpClient, transaction_of
from smtp_transport.testing import FaultServer, behaved
from tests.wire.sink import Sink


def a_message(**headers: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in {"From": "a@example.com", "To": "b@example.org", **headers}.items():
        message[name] = value
    message.set_content("grüße\n", cte="8bit")
    return message


@pytest.mark.parametrize("form", [lambda m: m, lambda m: m.as_bytes(), RawEmail.of], ids=["message", "bytes", "raw"])
def test_messages_of_other_programs_are_sent(client_for, form) -> None:
    """F-SEND-01."""
    with Sink() as sink:
        result = client_for(sink).send(form(a_message(Bcc="blind@hidden.example")))
    (taken,) = sink.taken
    assert (taken.sender, taken.recipients) == ("a@example.com", ["b@example.org", "blind@hidden.example"])
    assert b"hidden" not in taken.content
    read = message_from_bytes(taken.content)
    assert (read["Message-ID"], read["Date"] is not None) == (result.message_id, True)
    assert read.get_payload(decode=True) == "grüße\r\n".encode()


def test_an_envelope_of_ones_own_is_a_raw_email(client_for) -> None:
    with Sink() as sink:
        client_for(sink).send(RawEmail.of(a_message(), sender="", recipients=["c@example.net"]))
    assert (sink.taken[0].sender, sink.taken[0].recipients) == ("<>", ["c@example.net"])


def test_what_is_no_message_stops_no_other(client_for) -> None:
    """F-SEND-08."""
    good = Email(from_="a@example.com", to="b@example.org", text_body="x")
    with Sink() as sink:
        batch = client_for(sink).send_batch([b"no message", good, a_message(), b"From: a@b.example\r\n\r\n"])
    assert [type(result) for result in batch.results] == [MessageError, SendResult, SendResult, MessageError]
    assert (batch.succeeded, batch.failed, len(sink.taken)) == (2, 2, 2)
    with pytest.raises(MessageError):
        client_for(sink).send(b"no message")


def test_a_server_without_8bitmime_gets_seven_bits(client_for) -> None:
    with FaultServer(behaved()) as server:
        client_for(server).send(a_message())
        (content,) = server.conversations[0].contents
    assert content.isascii()
    assert message_from_bytes(content).get_payload(decode=True) == "grüße\r\n".encode()


def test_a_signed_message_is_refused_rather_than_broken(client_for) -> None:
    signed = b"DKIM-Signature: v=1\r\n" + a_message().as_bytes()
    with FaultServer(behaved()) as server, pytest.raises(MessageError) as caught:
        client_for(server).send(signed)
    assert caught.value.kind is ErrorKind.CAPABILITY_MISMATCH


def test_what_is_sent_is_signed(config_for) -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).split(b"\n")[1]
    record = b"v=DKIM1; k=ed25519; p=" + public[-44:]
    with Sink() as sink, SmtpClient(config_for(sink), signer=DkimSigner("example.com", "sel", key)) as client:
        client.send(Email(from_="a@example.com", to="b@example.org", text_body="grüße\n.\n..dots"))
        client.send(a_message())
    assert len(sink.taken) == 2
    for taken in sink.taken:
        assert dkim.verify(taken.content, dnsfunc=lambda name, timeout=5: record)


INTERNATIONAL = [
    Email(from_="a@example.com", to="jörg@bücher.example", text_body="x"),
    Email(from_="jörg@example.com", to="b@example.org", text_body="x"),
    Email(from_="a@example.com", to="b@example.org", reply_to="jörg@example.com", text_body="x"),
]


@pytest.mark.parametrize("email", INTERNATIONAL, ids=["recipient", "author", "header only"])
def test_an_international_local_part_needs_a_server_that_takes_it(client_for, email) -> None:
    """RFC 6531 section 3.2: there is no way to write it for others."""
    with FaultServer(behaved("8BITMIME")) as server, pytest.raises(MessageError) as caught:
        client_for(server).send(email)
    assert caught.value.kind is ErrorKind.CAPABILITY_MISMATCH
    with FaultServer(behaved("8BITMIME", "SMTPUTF8")) as server:
        client_for(server).send(email)
        spoken = server.conversations[0]
        assert "jörg".encode() in spoken.contents[0]
    mail = next(line for line in spoken.commands if line.startswith("MAIL"))
    assert mail.endswith("SMTPUTF8")


def test_an_international_domain_needs_nothing_of_the_server(client_for) -> None:
    email = Email(from_="Jörg <a@bücher.example>", to="Bü <b@日本.example>", subject="Grüße", text_body="grüße")
    with FaultServer(behaved()) as server:
        client_for(server).send(email)
        spoken = server.conversations[0]
        assert spoken.contents[0].isascii()
    assert "RCPT TO:<b@xn--wgv71a.example>" in spoken.commands
    assert "MAIL FROM:<a@xn--bcher-kva.example>" in spoken.commands
    assert message_from_bytes(spoken.contents[0])["To"].endswith("<b@xn--wgv71a.example>")


def test_a_transaction_can_be_made_of_anything(client_for) -> None:
    with Sink() as sink:
        ((_, receipt),) = client_for(sink).deliver([transaction_of(a_message(), recipients=["c@example.net"])])
    assert receipt.accepted == ("c@example.net",)
