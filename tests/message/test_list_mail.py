"""What mail from programs and lists carries besides: ways out, who sends, where bounces go, and its thread."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from typing import Any

import pytest
from pydantic import ValidationError

from smtp_transport.message import Address, AutoSubmitted, Email, EmailBuilder, Unsubscribe, envelope_of, render

LINK = "https://example.com/u?id=17"


def an_email(**fields: Any) -> Email:
    return Email(**{"from_": "a@example.com", "to": "b@example.com", **fields})


def text_of(**fields: Any) -> str:
    stamped = an_email(**fields).stamped("<m@example.com>", datetime(2026, 1, 1, tzinfo=UTC))
    return render(stamped, eight_bit=False).data.decode()


def test_one_click_unsubscribing_is_written_as_mailbox_providers_ask() -> None:
    """RFC 8058 section 3.1."""
    text = text_of(unsubscribe=Unsubscribe(url=LINK, mailto="leave@example.com?subject=17", one_click=True))
    assert f"List-Unsubscribe: <{LINK}>,\r\n <mailto:leave@example.com?subject=17>\r\n" in text
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in text


def test_an_address_alone_promises_no_click() -> None:
    text = text_of(unsubscribe={"mailto": "mailto:leave@example.com"})
    assert "List-Unsubscribe: <mailto:leave@example.com>\r\n" in text
    assert "List-Unsubscribe-Post" not in text


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "url, mailto"),
        ({"one_click": True, "mailto": "a@example.com"}, "one_click"),
        ({"one_click": True, "url": "http://example.com/u"}, "one_click"),
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "https://example.com/a b"}, "url"),
        ({"url": "https://example.com/>, <https://evil.example/"}, "url"),
        ({"url": "https://example.com/\r\nBcc: c@example.com"}, "url"),
        ({"url": "https://b\u00fccher.example/"}, "url"),
        ({"url": "https://example.com/" + "x" * 1000}, "url"),
        ({"mailto": "nobody"}, "mailto"),
        ({"mailto": "\u00fc@example.com"}, "mailto"),
        ({"mailto": '"a>b"@example.com'}, "mailto"),
        ({"mailto": "a@example.com?subject=a b"}, "mailto"),
        ({"mailto": "a@example.com?subject=a>\r\nX: y"}, "mailto"),
    ],
)
def test_a_way_out_that_could_be_misread_is_refused(fields: dict[str, Any], field: str) -> None:
    """NF-SEC-04."""
    with pytest.raises(ValidationError, match=field) as caught:
        Unsubscribe(**fields)
    assert "example.com" not in str(caught.value)


def test_no_repr_shows_whom_a_link_is_for() -> None:
    assert "17" not in repr(Unsubscribe(LINK, "leave@example.com?subject=17"))


@pytest.mark.parametrize(
    ("field", "value", "header"),
    [
        ("unsubscribe", Unsubscribe(LINK), "List-Unsubscribe"),
        ("unsubscribe", Unsubscribe(LINK), "list-unsubscribe-post"),
        ("auto_submitted", "auto-generated", "Auto-Submitted"),
        ("priority", 1, "X-Priority"),
    ],
)
def test_a_header_is_not_written_twice(field: str, value: Any, header: str) -> None:
    with pytest.raises(ValidationError, match=field):
        an_email(**{field: value, "headers": {header: "x"}})
    assert an_email(headers={header: "x"})


@pytest.mark.parametrize("word", list(AutoSubmitted))
def test_programs_say_that_they_are_programs(word: AutoSubmitted) -> None:
    """RFC 3834 section 5."""
    assert f"Auto-Submitted: {word.value}\r\n" in text_of(auto_submitted=word.value)
    with pytest.raises(ValidationError, match="auto_submitted"):
        an_email(auto_submitted="robot")


@pytest.mark.parametrize("path", ["bounce+b=example.org@example.com", "", "x@xn--bcher-kva.example"])
def test_bounces_go_where_the_author_says(path: str) -> None:
    email = an_email(envelope_sender=path, sender="s@example.com")
    assert envelope_of(email).sender == path
    assert Email.from_dict(email.to_dict()) == email
    text = text_of(envelope_sender=path, sender="s@example.com")
    assert "Sender: s@example.com\r\n" in text
    assert "bounce" not in text


def test_where_bounces_go_is_an_address() -> None:
    assert an_email(envelope_sender=Address("b@b\u00fccher.example")).envelope_sender == "b@xn--bcher-kva.example"
    for wrong in ("nobody", "<>", "a@b.example> SIZE=1", "a@b\r\nRSET"):
        with pytest.raises(ValidationError, match="envelope_sender"):
            an_email(envelope_sender=wrong)


def test_an_answer_belongs_to_its_thread() -> None:
    """RFC 5322 section 3.6.4."""
    first = an_email(message_id="<1@x>")
    second = an_email(message_id="<2@x>").replying_to(first)
    third = an_email().replying_to(second)
    assert (second.in_reply_to, second.references) == ("<1@x>", ("<1@x>",))
    assert (third.in_reply_to, third.references) == ("<2@x>", ("<1@x>", "<2@x>"))
    assert EmailBuilder().from_("a@b").to("c@d").replying_to(second).build().references == third.references


def test_a_parent_without_references_gives_what_it_answers() -> None:
    parent = an_email(message_id="<2@x>", in_reply_to="<1@x>")
    assert an_email().replying_to(parent).references == ("<1@x>", "<2@x>")


def test_a_received_message_can_be_answered() -> None:
    received = message_from_bytes(b"Message-ID: <3@x>\r\nReferences: <1@x> junk\r\n <2@x>\r\n\r\n")
    answer = an_email().replying_to(received)
    assert (answer.in_reply_to, answer.references) == ("<3@x>", ("<1@x>", "<2@x>", "<3@x>"))


def test_a_thread_does_not_grow_for_ever() -> None:
    parent = an_email(message_id="<last@x>", references=[f"<{n}@x>" for n in range(500)])
    references = an_email().replying_to(parent).references
    assert references[0] == "<0@x>"
    assert references[-2:] == ("<499@x>", "<last@x>")
    assert len(references) < 40


def test_only_a_mail_with_a_name_can_be_answered() -> None:
    for parent in (an_email(), EmailMessage()):
        with pytest.raises(ValueError, match="Message-ID"):
            an_email().replying_to(parent)
