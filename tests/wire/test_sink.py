"""Whole emails to a server that was written by others, read back by the standard library."""

from email import message_from_bytes, policy

import pytest

from smtp_transport import Attachment, InlineImage, SendResult
from tests.wire.sink import Sink

PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(range(256))


@pytest.fixture(params=[(), ("PIPELINING",)], ids=["lockstep", "pipelined"])
def sink(request):
    with Sink(capabilities=request.param) as running:
        yield running


def sent(client_for, sink, email):
    assert client_for(sink).send(email).is_complete_success
    return message_from_bytes(sink.taken[0].content, policy=policy.default)


def test_plain_text_arrives(client_for, email, sink):
    """F-SEND-01."""
    message = sent(client_for, sink, email(subject="Grüße", text_body="one\n.two\n..\n.\nfünf\n"))
    assert message["Subject"] == "Grüße"
    assert message.get_content() == "one\r\n.two\r\n..\r\n.\r\nfünf\r\n"
    assert sink.taken[0].sender == "me@example.com"


def test_html_arrives(client_for, email, sink):
    """F-SEND-02."""
    message = sent(client_for, sink, email(text_body=None, html_body="<p>ä</p>"))
    assert message.get_content_type() == "text/html"
    assert message.get_content().strip() == "<p>ä</p>"


def test_text_and_html_arrive_as_alternatives(client_for, email, sink):
    """F-SEND-03."""
    message = sent(client_for, sink, email(html_body="<p>Hello.</p>"))
    assert [part.get_content_type() for part in message.walk()] == ["multipart/alternative", "text/plain", "text/html"]


def test_attachments_arrive_byte_for_byte(client_for, email, sink):
    """F-SEND-04."""
    data = PNG * 20_000
    attached = Attachment(filename="größe.bin", content_type="application/octet-stream", data=data)
    message = sent(client_for, sink, email(attachments=(attached,)))
    (part,) = message.iter_attachments()
    assert part.get_filename() == "größe.bin"
    assert part.get_content() == data


def test_inline_images_arrive_beside_their_html(client_for, email, sink):
    """F-SEND-05."""
    image = InlineImage(content_id="logo", content_type="image/png", data=PNG)
    html = f'<img src="{image.cid_reference()}">'
    message = sent(client_for, sink, email(html_body=html, inline_images=(image,)))
    (part,) = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert part["Content-ID"] == "<logo>"
    assert part.get_content() == PNG


def test_every_recipient_is_reached_and_bcc_is_not_told(client_for, email, sink):
    """F-SEND-06."""
    message = sent(client_for, sink, email("a@example.org", cc="b@example.org", bcc="secret@example.org"))
    assert sink.taken[0].recipients == ["a@example.org", "b@example.org", "secret@example.org"]
    assert b"secret@" not in sink.taken[0].content
    assert message["Bcc"] is None


def test_a_batch_with_a_refused_recipient_arrives(client_for, email, sink):
    """F-SEND-07, F-SEND-08."""
    sink.refuse["bad@example.org"] = "550 5.1.1 no such user"
    emails = [email(f"{n}@example.org", subject=f"Mail {n}") for n in range(20)]
    emails[7] = email("bad@example.org")
    emails[8] = email("bad@example.org", "good@example.org")
    batch = client_for(sink).send_batch(emails)
    assert (batch.succeeded, batch.failed) == (19, 1)
    assert not isinstance(batch.results[7], SendResult)
    assert batch.results[8].is_partial_success
    assert [taken.recipients[0] for taken in sink.taken] == [
        "good@example.org" if n == 8 else f"{n}@example.org" for n in range(20) if n != 7
    ]
