"""A caller's code, checked as a caller checks it: strictly, and without pydantic's plugin for mypy."""

from mailworker import Address, Attachment, Email, send_email

plain = Email(
    from_="Shop <shop@example.com>", to="ann@example.org", subject="Your order", text_body="It is on its way."
)
rich = Email(
    from_=Address("shop@example.com", "Shop"),
    to=["ann@example.org", Address("bob@example.org")],
    html_body="<p>Hello</p>",
    attachments=[Attachment("bill.pdf", "application/pdf", b"%PDF")],
    headers={"X-Order": "17"},
    priority=1,
)
state: str = send_email.delay(plain).state
