import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from mailworker.dev.audit import audit
from mailworker.dev.letters import Letter, letters
from mailworker.dev.mailbox import StoredMail
from smtp_transport.message import Email, envelope_of, render

COUNT = 48
WRITTEN = tuple(letters(COUNT))


def stored(letter: Letter) -> StoredMail:
    """The mail as a faultless delivery would leave it."""
    email = letter.email.stamped(f"<given-{letter.number}@shop.example>", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    envelope = envelope_of(email)
    recipients = tuple(address for address in envelope.recipients if address in letter.delivered_to)
    return StoredMail(Path(f"{letter.number}.eml"), envelope.sender, recipients, render(email, eight_bit=True).data)


MAILS = tuple(stored(letter) for letter in WRITTEN if letter.delivered_to)


def changed(number: int, **fields: object) -> list[StoredMail]:
    return [dataclasses.replace(m, **fields) if m.path.stem == str(number) else m for m in MAILS]  # type: ignore[arg-type]


def test_the_same_seed_writes_the_same_letters_and_another_others() -> None:
    assert tuple(letters(COUNT)) == WRITTEN
    assert [letter.email for letter in letters(COUNT, seed=2)] != [letter.email for letter in WRITTEN]


def test_one_letter_is_refused_and_a_few_are_put_off() -> None:
    for count in (3, 10, 200):
        written = tuple(letters(count))
        assert sum(bool(letter.refused) for letter in written) == 1
        assert 1 <= sum(bool(letter.put_off) for letter in written) <= 5


def test_the_letters_have_every_shape() -> None:
    emails: list[Email] = [letter.email for letter in WRITTEN]
    assert any(email.html_body for email in emails)
    assert any(email.attachments for email in emails)
    assert any(email.inline_images for email in emails)
    assert any(email.cc for email in emails)
    assert any(email.bcc for email in emails)
    assert any(len(email.to) > 10 for email in emails)
    assert any(not email.subject.isascii() for email in emails)
    assert any(address.name and not address.name.isascii() for email in emails for address in email.to)


def test_a_mailbox_that_holds_what_it_should_has_no_faults() -> None:
    assert audit(WRITTEN, MAILS) == []


def test_a_mail_split_in_two_transactions_is_no_fault() -> None:
    mail = MAILS[5]
    assert len(mail.recipients) > 1
    halves = [dataclasses.replace(mail, recipients=part) for part in (mail.recipients[:1], mail.recipients[1:])]
    assert audit(WRITTEN, [*MAILS[:5], *halves, *MAILS[6:]]) == []


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 6, 7])
def test_a_lost_mail_is_a_fault(number: int) -> None:
    faults = audit(WRITTEN, [mail for mail in MAILS if mail.path.stem != str(number)])
    assert len(faults) == len(WRITTEN[number].delivered_to)
    assert f"letter {number}: lost for recipient 1 of {len(WRITTEN[number].email.recipients)}" in faults


def test_a_mail_that_came_twice_is_a_fault() -> None:
    assert audit(WRITTEN, [*MAILS, MAILS[1]]) == ["letter 1: delivered 2 times for recipient 1 of 1"]


def test_a_recipient_left_out_or_added_is_a_fault() -> None:
    before = MAILS[6].recipients
    assert audit(WRITTEN, changed(6, recipients=before[:-1])) == [
        f"letter 6: lost for recipient {len(before)} of {len(before)}"
    ]
    faults = audit(WRITTEN, changed(6, recipients=(*before, "mallory@example.com")))
    assert faults == ["letter 6: delivered 1 times to somebody who was not to get it"]


def test_a_refused_recipient_that_got_it_is_a_fault() -> None:
    refused = next(letter for letter in WRITTEN if letter.refused)
    mail = dataclasses.replace(stored(refused), recipients=refused.refused)
    assert audit(WRITTEN, [*MAILS, mail]) == [
        f"letter {refused.number}: delivered 1 times to somebody who was not to get it"
    ]


def test_a_bcc_header_is_a_fault() -> None:
    content = b"Bcc: somebody@example.com\r\n" + MAILS[6].content
    assert audit(WRITTEN, changed(6, content=content)) == ["letter 6: it shows who got it blindly"]


def test_a_hidden_address_anywhere_in_the_mail_is_a_fault() -> None:
    content = b"X-Note: " + WRITTEN[6].email.bcc[0].email.encode() + b"\r\n" + MAILS[6].content
    assert audit(WRITTEN, changed(6, content=content)) == ["letter 6: it shows who got it blindly"]


@pytest.mark.parametrize(
    ("number", "old", "new", "fault"),
    [
        (0, b"Letter 0", b"Letter O", "its plain text is another"),
        (1, b"<p>Letter", b"<p>letter", "its html text is another"),
        (0, b"Your order 0", b"Your order O", "its Subject is another"),
        (2, b"application/pdf", b"application/pdf; x=y", None),
        (2, b"notes.txt", b"other.txt", "its attachments are others"),
        (3, b"<logo@shop.example>", b"<other@shop.example>", "its inline images are others"),
        (1, b"letter-1.1@shop", b"letter-1.2@shop", "its Message-ID is another"),
        (0, b"Date: Thu", b"X-Date: Thu", "it lacks Message-ID or Date"),
        (0, b"\r\nMessage-ID: ", b"\r\nX-Message-ID: ", "it lacks Message-ID or Date"),
        (0, b"noreply@shop", b"other@shop", "its From is another"),
    ],
)
def test_a_mail_that_was_changed_on_its_way_is_a_fault(number: int, old: bytes, new: bytes, fault: str | None) -> None:
    content = MAILS[number].content
    assert old in content
    faults = audit(WRITTEN, changed(number, content=content.replace(old, new)))
    assert faults == ([f"letter {number}: {fault}"] if fault else [])


def test_two_letters_with_one_message_id_are_a_fault() -> None:
    content = MAILS[2].content.replace(b"<given-2@", b"<given-0@")
    assert audit(WRITTEN, changed(2, content=content)) == [
        "letter 0: shares its Message-ID with another letter",
        "letter 2: shares its Message-ID with another letter",
    ]


def test_a_mail_that_is_none_of_the_letters_is_a_fault() -> None:
    strange = StoredMail(Path("strange.eml"), "", ("a@example.com",), b"Subject: hello\r\n\r\n")
    assert audit(WRITTEN, [*MAILS, strange]) == ["strange.eml: is none of the letters"]


def test_no_fault_shows_an_address_or_a_text() -> None:
    mails = [dataclasses.replace(mail, recipients=("x@example.com",)) for mail in MAILS]
    assert not any("@" in fault for fault in audit(WRITTEN, mails))
