from pathlib import Path

import pytest
from pydantic import ValidationError

from smtp_transport.errors import MessageError
from smtp_transport.message import Address, Attachment, Email, EmailBuilder, InlineImage, Priority


def test_every_step_of_the_builder_is_in_the_email(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_bytes(b"c")
    built = (
        EmailBuilder()
        .from_("Shop <shop@example.com>")
        .sender("bounces@example.com")
        .to("a@example.com")
        .to_many(["b@example.com", Address("c@example.com")])
        .cc("d@example.com")
        .cc_many(["e@example.com"])
        .bcc("f@example.com")
        .bcc_many(iter(["g@example.com"]))
        .reply_to("h@example.com")
        .reply_to("i@example.com")
        .subject("Subject")
        .text("first")
        .text_body("text")
        .html("first")
        .html_body("html")
        .attach_bytes("a.txt", "text/plain", b"a")
        .attachment(Attachment("b.txt", "text/plain", b"b"))
        .attach_file(tmp_path / "c.txt")
        .inline_image("i", "image/png", b"i")
        .inline_image(InlineImage("j", "image/png", b"j"))
        .header("X-B", "1")
        .header("X-A", "2")
        .message_id("m@example.com")
        .in_reply_to("<r@example.com>")
        .references(["<q@example.com>", "<r@example.com>"])
        .priority(Priority.HIGH)
        .build()
    )
    assert built == Email(
        from_="Shop <shop@example.com>",
        sender="bounces@example.com",
        to=["a@example.com", "b@example.com", "c@example.com"],
        cc=["d@example.com", "e@example.com"],
        bcc=["f@example.com", "g@example.com"],
        reply_to=["h@example.com", "i@example.com"],
        subject="Subject",
        text_body="text",
        html_body="html",
        attachments=[Attachment(f"{name}.txt", "text/plain", name.encode()) for name in "abc"],
        inline_images=[InlineImage("i", "image/png", b"i"), InlineImage("j", "image/png", b"j")],
        headers=[("X-B", "1"), ("X-A", "2")],
        message_id="m@example.com",
        in_reply_to="<r@example.com>",
        references=["<q@example.com>", "<r@example.com>"],
        priority=2,
    )


def test_build_checks_all_at_once_and_names_the_fields() -> None:
    builder = EmailBuilder().from_("nobody").to("x y@example.com").subject("a\nb").inline_image("a b", "png", b"")
    with pytest.raises(ValidationError) as caught:
        builder.build()
    for field in ("from_.email", "to.0.email", "subject", "inline_images.0.content_id", "inline_images.0.content_type"):
        assert f"\n{field}\n" in str(caught.value)


def test_a_builder_goes_on_after_a_build() -> None:
    builder = EmailBuilder().from_("a@example.com").to("b@example.com")
    first, second = builder.build(), builder.to("c@example.com").build()
    assert (len(first.to), len(second.to)) == (1, 2)


def test_a_missing_file_is_told_at_once() -> None:
    with pytest.raises(MessageError, match="No such file"):
        EmailBuilder().attach_file("nowhere.pdf")


def test_the_repr_shows_no_value() -> None:
    assert repr(EmailBuilder().subject("secret").text("secret")) == "<EmailBuilder with 2 fields>"


@pytest.mark.parametrize("one", ["B <b@example.com>", Address("b@example.com", "B")])
def test_one_address_stands_where_many_may(one: Address | str) -> None:
    email = EmailBuilder().from_("a@example.com").to_many(one).cc_many(one).bcc_many(one).build()
    assert email.to == email.cc == email.bcc == (Address("b@example.com", "B"),)
