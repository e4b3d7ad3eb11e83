"""A program that sends with smtp_transport alone, checked as its author checks it: strictly, and without a plugin."""

from smtp_transport import (
    Address,
    CircuitBreakerConfig,
    Command,
    Connection,
    Credentials,
    DeliveryOptions,
    Email,
    Event,
    Interceptor,
    MailClient,
    Notify,
    OAuth2Client,
    OAuth2Token,
    RateLimitConfig,
    RawEmail,
    RefreshTokenProvider,
    SaslContext,
    SaslExchange,
    SendResult,
    SmtpClient,
    SmtpConfig,
    TlsConfig,
)
from smtp_transport.observation import DeliveryDone
from smtp_transport.testing import Expect, FaultPlan, FaultServer, MockSmtpClient, Peer, behaved


class Xclient(Command):
    verb = "XCLIENT"
    argument = "NAME=mx.example.com"


class Hello:
    name = "X-HELLO"

    def start(self, credentials: Credentials, context: SaslContext) -> SaslExchange:
        challenge = yield None
        yield b"hello " + challenge


class Marked(Interceptor):
    def before_send(self, email: Email) -> Email:
        return email.model_copy(update={"subject": "marked"})


class Greet:
    def play(self, peer: Peer) -> None:
        peer.send(b"220 hi\r\n")


def watch(event: Event) -> None:
    if isinstance(event, DeliveryDone):
        told: int | None = event.code
        assert told != 421


def token() -> OAuth2Token:
    return OAuth2Token(access_token="to-ken")


def greet(client: MailClient) -> tuple[str, ...]:
    return client.send(Email(from_="me@example.com", to="you@example.org", text="Hi!")).accepted


by_words = SmtpConfig(
    host="smtp.example.com",
    tls="starttls",
    tls_config=TlsConfig(ca_certs="ca.pem", pinned_certs=["00" * 32], min_version="TLSv1.3"),
    credentials=token,
    auth_method="OAUTHBEARER",
    mechanisms=[Hello()],
    proxy="socks5://proxy.example",
    source_address="192.0.2.7",
    mode="streamed",
    pool={"max_connections": 3},
    rate_limit=RateLimitConfig(max_emails=1, window=60, on_limit="wait"),
    circuit_breaker=CircuitBreakerConfig(),
    observers=[watch],
)
by_socket = SmtpConfig(unix_socket="/run/lmtp", protocol="lmtp")
provider = RefreshTokenProvider(OAuth2Client.google("id", "secret"), "refresh", username="me@gmail.com")
other = OAuth2Client(token_endpoint="https://login.example.com/token", client_id="id", client_secret="secret")
with SmtpClient(by_words, observers=watch, interceptors=[Marked()]) as client:
    options = DeliveryOptions(notify={Notify.FAILURE})
    batch = client.send_batch([RawEmail.of(b"", sender="", recipients=["you@example.org"])], options, connections=2)
    ids: list[str | None] = [one.server_id for one in batch.results if isinstance(one, SendResult)]
    code: int = client.command(Xclient()).code
with Connection.open(SmtpConfig(host="h", credentials=provider)) as connection:
    alive: bool = connection.noop()
with FaultServer(["220 hi", Expect("EHLO"), Greet()], behaved(faults=FaultPlan().at("RCPT", 1, "450 busy"))) as server:
    server.wait_until(lambda: bool(server.conversations))
mock = MockSmtpClient()
mock.expect_send(where=lambda mail: mail.subject == "Hi").returns("QUEUED1")
greet(mock)
Email(from_=Address("me@example.com", "Me"), to=["you@example.org"], headers={"X-A": "b"}, priority=2)
