"""Messages of other programs on the whole road, with a real worker."""

from email import message_from_bytes
from email.message import EmailMessage

import pytest

from mailworker import FileAttachment, send_email
from tests.system.test_road import email

pytestmark = pytest.mark.system


def a_message(to: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Bcc"] = "shop@example.com", to, "eve@example.org"
    message["Subject"] = "Grüße"
    message.set_content("Hällo.\n.\nZwei\n", cte="8bit")
    return message


def test_messages_of_other_programs_are_delivered_like_emails(post, tmp_path):
    """F-SEND-01."""
    (tmp_path / "bill.bin").write_bytes(bytes(range(256)) * 100)
    post.worker("-c", "1")
    file = FileAttachment.from_path(tmp_path / "bill.bin")
    results = [
        send_email.delay(a_message("ann@example.org")),
        send_email.delay(a_message("bob@example.org").as_bytes()),
        send_email.delay(email(to="cat@example.org", attachments=file)),
    ]
    message_ids = [result.get(timeout=20)["message_id"] for result in results]
    stored = {mail.recipients[0]: mail for mail in post.stored()}
    for message_id, to in zip(message_ids[:2], ("ann@example.org", "bob@example.org"), strict=True):
        mail = stored[to]
        assert mail.recipients == (to, "eve@example.org")
        assert b"eve@example.org" not in mail.content
        read = message_from_bytes(mail.content)
        assert read["Message-ID"] == message_id
        assert read.get_payload(decode=True).replace(b"\r\n", b"\n") == "Hällo.\n.\nZwei\n".encode()
    files = [part for part in message_from_bytes(stored["cat@example.org"].content).walk() if part.get_filename()]
    assert [part.get_payload(decode=True) for part in files] == [bytes(range(256)) * 100]
