"""The public API as a caller sees it: checked by mypy --strict, never run."""

from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import assert_type

from mailworker import (
    Address,
    Attachment,
    Email,
    EmailBuilder,
    InlineImage,
    LedgerError,
    MailFailedError,
    MailResult,
    Priority,
    RawEmail,
    RefusedError,
    send_email,
)
from smtp_transport import (
    BatchSendResult,
    CircuitBreakerConfig,
    Credentials,
    MailClient,
    OAuth2Client,
    ProtocolError,
    RateLimitBehavior,
    RateLimitConfig,
    Receipt,
    RefreshTokenProvider,
    RetryConfig,
    SaslContext,
    SaslExchange,
    SendResult,
    SmtpClient,
    SmtpConfig,
    SmtpError,
    SmtpSession,
)
from smtp_transport.stream import Stream
from smtp_transport.testing import MockSmtpClient

email = Email(
    from_=Address(email="shop@example.com", name="Shop"),
    to=(Address.parse("Ann <ann@example.org>"),),
    subject="Your order",
    text_body="It is on its way.",
    attachments=(Attachment(filename="a.txt", content_type="text/plain", data=b"a"),),
    html_body="<img src='cid:logo'>",
    inline_images=(InlineImage(content_id="logo", content_type="image/png", data=b"\x89PNG"),),
    priority=Priority.HIGH,
)
built = EmailBuilder().from_("shop@example.com").to("ann@example.org").subject("Your order").text("…").build()
assert_type(built, Email)
assert_type(email.recipients, tuple[str, ...])

result = send_email.delay(email)
assert_type(result, MailResult)
later = send_email.apply_async(
    (built,),
    countdown=60,
    expires=datetime.now(UTC) + timedelta(days=1),
    priority=0,
    idempotency_key="order-4711",
    lane="bulk",
)
assert_type(later, MailResult)
assert_type(send_email.many([email, built]), list[MailResult])
assert_type(send_email.delay(EmailMessage()), MailResult)
assert_type(send_email.delay(b"From: a@example.com"), MailResult)
assert_type(result.id, str)
state: str = result.state

try:
    result.get(timeout=10)
except MailFailedError as failure:
    assert_type(failure.mail_id, str)
    assert_type(failure.state, str)
except (LedgerError, RefusedError) as error:
    raise SystemExit(str(error)) from error

config = SmtpConfig(host="smtp.example.com", credentials=Credentials.password("user", "secret"))
with SmtpClient(config) as client:
    assert_type(client.send(email), SendResult)
    assert_type(client.send_batch([email, EmailMessage(), b"From: a@example.com"]), BatchSendResult)
    assert_type(client.send(RawEmail.of(EmailMessage(), sender="", recipients=["a@example.com"])), SendResult)
    try:
        client.test_connection()
    except SmtpError as refused:
        assert_type(refused.is_retryable, bool)


class Hello:
    """A SASL mechanism of one's own."""

    name = "X-HELLO"

    def start(self, _credentials: Credentials, _context: SaslContext, /) -> SaslExchange:
        """Say hello when asked."""
        yield None
        yield b"hello"


google = OAuth2Client.google("client-id", "client-secret")
provider = RefreshTokenProvider(google, "refresh-token", username="me@gmail.com")
SmtpConfig(host="smtp.gmail.com", credentials=provider)
SmtpConfig(host="smtp.example.com", credentials=lambda: "token", mechanisms=(Hello(),))
SmtpConfig.builder().host("smtp.example.com").credentials(provider).mechanisms(Hello()).build()
limit = RateLimitConfig(max_emails=100, window=60, on_limit=RateLimitBehavior.WAIT)
careful = SmtpConfig.builder().host("smtp.example.com").rate_limit(limit).circuit_breaker(CircuitBreakerConfig())
careful.retry(RetryConfig(max_attempts=5)).build()


def lead(stream: Stream) -> Receipt:
    """Lead one connection step by step."""
    with SmtpSession.connect_starttls(stream, config) as session:
        session.login("user", "secret")
        return session.send_mail("me@example.com", ["you@example.org"], b"Subject: hi\r\n\r\nhello\r\n")


def tell(client: MailClient) -> SendResult:
    return client.send(email)


tell(SmtpClient(config))
mock = MockSmtpClient()
mock.expect_send(to="ann@example.org").times(1).returns().raises(ProtocolError("no"))
tell(mock)
