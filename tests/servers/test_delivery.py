"""Mails of every kind to servers that others wrote, read back from where those keep them."""

import dkim
import pytest

from smtp_transport import Attachment, DkimSigner, ErrorKind, InlineImage, MessageError, SmtpError, render
from tests.dkim_keys import ED_KEY, RSA_KEY, record_of
from tests.servers.standing import LATER, REFUSED, SMALL, found

PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(range(256))


def as_rendered(email):
    return render(email, eight_bit=True).data


def test_each_kind_of_mail_arrives_byte_for_byte(client_of, email, server, way):
    """F-SEND-01, F-SEND-02, F-SEND-03, F-SEND-04, F-SEND-05, F-CONN-01."""
    html = '<p>ä <img src="cid:logo"></p>'
    emails = [
        email(subject="Grüße"),
        email(text_body="one\n.two\n..\n.\n\n.\n"),
        email(text_body="no line end at the end"),
        email(text_body=" \t\n" * 40),
        email(text_body="fünf\n" * 200),
        email(text_body="x" * 5_000 + "\n" + "ü" * 2_000),
        email(text_body=None, html_body=html.replace(' <img src="cid:logo">', "")),
        email(html_body=html.replace(' <img src="cid:logo">', "")),
        email(html_body=html, inline_images=(InlineImage(content_id="logo", content_type="image/png", data=PNG),)),
        email(attachments=(Attachment(filename="größe.bin", content_type="application/octet-stream", data=PNG * 99),)),
    ]
    client = client_of(server, **way)
    assert client.send_batch(emails).succeeded == len(emails)
    assert client.connection_info().capabilities.eight_bit_mime
    arrived = found(server, [each.message_id for each in emails])
    assert [mail.message_id for mail in arrived] == [each.message_id for each in emails]
    for mail, sent in zip(arrived, emails, strict=True):
        assert mail.as_sent == as_rendered(sent)
    assert b"f\xc3\xbcnf\r\n" in arrived[4].as_sent


def test_a_refused_recipient_does_not_stop_the_others(client_of, email, server, way):
    """F-SEND-06, F-SEND-07."""
    mixed = email("a@example.org", REFUSED, LATER, "b@example.org")
    emails = [email(), email(REFUSED), mixed, email(LATER, REFUSED), email()]
    first, nobody, some, later, last = client_of(server, **way).send_batch(emails).results
    assert first.is_complete_success
    assert last.is_complete_success
    assert (nobody.kind, nobody.code, nobody.enhanced_code) == (ErrorKind.INVALID_RECIPIENT_ADDRESS, 550, "5.1.1")
    assert (later.code, later.is_retryable) == (450, True)
    assert some.accepted == ("a@example.org", "b@example.org")
    assert [(rejected.address, rejected.code) for rejected in some.rejected] == [(REFUSED, 550), (LATER, 450)]
    arrived = found(server, [emails[0].message_id, mixed.message_id, emails[4].message_id])
    reached = {recipient for mail in arrived if mail.message_id == mixed.message_id for recipient in mail.recipients}
    # The one who keeps a mail for each recipient is done when the last of them is there.
    assert reached <= {"a@example.org", "b@example.org"}
    assert {mail.as_sent for mail in arrived} == {as_rendered(emails[0]), as_rendered(mixed), as_rendered(emails[4])}


def test_an_address_beyond_ascii_arrives(client_of, email, server, way):
    """RFC 6531."""
    beyond = email("jürgen@example.org", subject="Grüße")
    client = client_of(server, **way)
    result = client.send(beyond)
    assert client.connection_info().capabilities.smtputf8
    assert result.accepted == ("jürgen@example.org",)
    (mail,) = found(server, [beyond.message_id])
    assert mail.recipients == ("jürgen@example.org",)
    assert mail.as_sent == as_rendered(beyond)


def test_a_mail_that_is_too_large_is_refused_before_it_is_sent_and_harms_no_other(client_of, email, server, way):
    """RFC 1870."""
    emails = [email(), email(text_body="x" * 70 + "\n" + "y" * SMALL), email()]
    first, large, last = client_of(server, "small", **way).send_batch(emails).results
    assert isinstance(large, MessageError)
    assert large.kind is ErrorKind.MESSAGE_TOO_LARGE
    assert large.code is None
    assert first.is_complete_success
    assert last.is_complete_success
    found(server, [emails[0].message_id, emails[2].message_id])


def test_a_server_that_does_not_tell_its_limit_refuses_the_mail_itself(client_of, email, real_postfix, way):
    """RFC 1870: Postfix counts what it is sent, and says 552 when it has heard the end."""
    emails = [email(), email(text_body="many words\n" * SMALL), email()]
    first, large, last = client_of(real_postfix, "mute", **way).send_batch(emails).results
    assert isinstance(large, SmtpError)
    assert (large.kind, large.code, large.enhanced_code) == (ErrorKind.MESSAGE_TOO_LARGE, 552, "5.3.4")
    assert first.is_complete_success
    assert last.is_complete_success
    arrived = found(real_postfix, [emails[0].message_id, emails[2].message_id])
    assert len(arrived) == 2


def test_a_batch_of_200_arrives_once_each_and_in_order(client_of, email, server, way):
    """F-SEND-08."""
    emails = [email(subject=f"Mail {number}", text_body=f"{number}\n" * 500) for number in range(200)]
    batch = client_of(server, **way).send_batch(emails)
    assert batch.succeeded == 200
    arrived = found(server, [each.message_id for each in emails])
    assert [mail.message_id for mail in arrived] == [each.message_id for each in emails]
    assert [mail.as_sent for mail in arrived] == [as_rendered(each) for each in emails]


def test_an_attachment_of_25_mb_goes_through(client_of, email, server):
    """NF-PERF-04."""
    data = bytes(range(256)) * (25_000_000 // 256)
    large = email(attachments=(Attachment(filename="a.bin", content_type="application/octet-stream", data=data),))
    assert client_of(server).send(large).is_complete_success
    (mail,) = found(server, [large.message_id])
    assert mail.as_sent == as_rendered(large)


@pytest.mark.parametrize("door", ["plain", "secure"])
def test_a_server_tells_what_it_can(client_of, real_postfix, real_exim, door):
    """F-CONN-02."""
    for server in (real_postfix, real_exim):
        capabilities = client_of(server, door).test_connection().capabilities
        assert capabilities.pipelining
        assert capabilities.chunking
        assert capabilities.smtputf8
        assert capabilities.eight_bit_mime
        assert capabilities.dsn
        assert capabilities.max_size == 50_000_000
        assert ("PLAIN" in capabilities.auth_mechanisms) is (door == "secure")


@pytest.mark.parametrize("key", [RSA_KEY, ED_KEY], ids=["rsa", "ed25519"])
def test_a_signature_survives_the_way(client_of, email, server, way, key):
    """RFC 6376: neither the wire nor the server changes what was signed."""
    emails = [
        email(text_body="one\n.two\n..\n.\n\n.\n\n\n"),
        email(text_body=""),
        email(text_body=" \t\n trailing \t\nfünf\n" + "ü" * 2_000, subject="Grüße " * 30),
        email(html_body="<p>ü", attachments=Attachment(filename="größe.bin", content_type="a/b", data=PNG * 99)),
    ]
    client = client_of(server, signer=DkimSigner("example.com", "sel", key), **way)
    assert client.send_batch(emails).succeeded == len(emails)
    for mail in found(server, [each.message_id for each in emails]):
        assert mail.as_sent.startswith(b"DKIM-Signature: ")
        assert dkim.verify(mail.as_sent, dnsfunc=lambda name, timeout=5: record_of(key))
