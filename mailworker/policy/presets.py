"""Presets: what is known of providers, so that a name and a secret are enough to send through one.

Law: data, and how to look it up. What a person sets wins over a preset. Each figure has a source; where none was found
there is no figure.
"""

import difflib
import re
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

_DAY: Final = "2026-11-21"
_SES: Final = re.compile(r"ses:(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)")
_SES_EXAMPLE: Final = "ses:eu-west-1"


@dataclass(frozen=True, slots=True)
class Source:
    """Where it is written what a preset holds, and the day on which that was read."""

    told: str
    address: str
    read: str = _DAY


@dataclass(frozen=True, slots=True)
class Preset:
    """One provider. Empty and None: not known, or not bounded. `limits` as people write rates.

    `username`: the same for everybody. `username_is`, `password_is`: what to put there. `is_username_the_password`:
    one token for both. `oauth`: the provider of tokens that it takes. `advice`: for whoever it does not work for.
    """

    title: str
    host: str
    port: int = 587
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    login: Literal["required", "optional", "none"] = "required"
    username: str = ""
    username_is: str = "the whole address"
    password_is: str = "an app password"  # noqa: S105 - what to put there
    is_username_the_password: bool = False
    oauth: Literal["google", "microsoft", ""] = ""
    limits: str = ""
    recipients: int | None = None
    message_bytes: int | None = None
    connections: int | None = None
    messages: int | None = None
    idle_seconds: int | None = None
    advice: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()

    def settings(self) -> dict[str, Any]:
        """Say what it sets, under the names of a relay's settings."""
        known = {
            "host": self.host,
            "port": self.port,
            "tls": self.tls,
            "limits": self.limits,
            "max_recipients": self.recipients,
            "max_message_bytes": self.message_bytes,
            "all_connections": self.connections,
            "max_messages": self.messages,
            "idle_seconds": self.idle_seconds,
        }
        return {name: value for name, value in known.items() if value not in (None, "")}


def preset_named(name: str) -> Preset:
    """Look a preset up, e.g. "gmail", "mailgun:eu" or "ses:eu-west-1".

    Raises ValueError with the nearest name that is known.
    """
    found = _SES.fullmatch(name)
    if found:
        return replace(_SES_PRESET, host=_SES_PRESET.host.format(region=found["region"]))
    if name.partition(":")[0] == "ses":
        raise ValueError(f"{name!r} names no region of Amazon SES; write e.g. {_SES_EXAMPLE!r}")
    if name in _PRESETS:
        return _PRESETS[name]
    near = difflib.get_close_matches(name, [*_PRESETS, _SES_EXAMPLE], n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"{name!r} is no preset{hint} There are {', '.join(all_presets())}")


def all_presets() -> dict[str, Preset]:
    """Give every preset by its name; Amazon SES with a placeholder for the region."""
    return dict(sorted({**_PRESETS, "ses:REGION": _SES_PRESET}.items()))


_GOOGLE_LIMITS: Final = "https://support.google.com/a/answer/166852"
_GOOGLE_HOSTS: Final = Source(
    "host, ports, TLS, XOAUTH2", "https://developers.google.com/workspace/gmail/imap/imap-smtp"
)
_TWO_STEPS: Final = (
    "it takes no ordinary password: turn two-step verification on and make an app password, or use OAuth"
)
_GMAIL: Final = Preset(
    "Gmail",
    "smtp.gmail.com",
    465,
    "implicit",
    oauth="google",
    limits="500 recipients/day",
    recipients=100,
    advice=(_TWO_STEPS,),
    sources=(
        _GOOGLE_HOSTS,
        Source(
            "500 a day; an app password or a token",
            "https://developer.nylas.com/docs/cookbook/email/gmail-smtp-settings/",
        ),
        Source("recipients of a mail", _GOOGLE_LIMITS),
    ),
)
_MAILGUN: Final = Preset(
    "Mailgun",
    "smtp.mailgun.org",
    username_is="the SMTP user of the sending domain, e.g. postmaster@mg.example.com",
    password_is="that user's SMTP password",  # noqa: S106 - what to put there
    message_bytes=25_000_000,
    advice=(
        "SMTP credentials belong to a sending domain: the account's API key is refused",
        "domains in the European region are served by mailgun:eu, others by mailgun",
    ),
    sources=(
        Source("size of a mail", "https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages"),
        Source("hosts, ports, credentials", "https://smtptester.org/guides/mailgun-smtp-test/"),
    ),
)
_SPARKPOST: Final = Preset(
    "SparkPost",
    "smtp.sparkpostmail.com",
    username="SMTP_Injection",
    password_is='an API key with the permission "Send via SMTP"',  # noqa: S106 - what to put there
    messages=100,
    idle_seconds=55,
    advice=('the API key needs the permission "Send via SMTP"', "European accounts are served by sparkpost:eu"),
    sources=(
        Source(
            "hosts, port, TLS, user name, 100 mails a connection, 1 min idle",
            "https://developers.sparkpost.com/api/smtp",
        ),
    ),
)
_ZOHO: Final = Preset(
    "Zoho Mail",
    "smtp.zoho.com",
    465,
    "implicit",
    recipients=100,
    advice=(
        "with two-factor authentication it takes an app-specific password",
        "accounts live in one region: zoho, zoho:eu, zoho:in, zoho:au or zoho:jp",
        "paid accounts with a domain of their own use smtppro instead of smtp in the host's name",
    ),
    sources=(
        Source("hosts, ports, TLS", "https://postigo.net/smtp/zoho"),
        Source(
            "recipients of a mail",
            "https://github.com/api-evangelist/zoho-mail/blob/main/rate-limits/zoho-mail-rate-limits.yml",
        ),
    ),
)
_MAILPIT: Final = Preset(
    "Mailpit",
    "localhost",
    1025,
    "none",
    "none",
    username_is="",
    password_is="",
    sources=(Source("port", "https://github.com/axllent/mailpit"),),
)
_SES_PRESET: Final = Preset(
    "Amazon SES",
    "email-smtp.{region}.amazonaws.com",
    username_is="the SMTP user name of that region",
    password_is="the SMTP password of that region",  # noqa: S106 - what to put there
    recipients=50,
    message_bytes=40_000_000,
    advice=(
        "SMTP credentials are not IAM keys: make them in the console, for each region, under SMTP settings",
        "a new account may only write to verified addresses, 200 mails a day and 1 a second",
        'rate and quota are the account\'s own: set limits to what the console shows, e.g. "14/s, 50000/day"',
    ),
    sources=(
        Source("size of a mail, no common quota", "https://docs.aws.amazon.com/ses/latest/dg/quotas.html"),
        Source("ports, TLS", "https://docs.aws.amazon.com/ses/latest/dg/smtp-connect.html"),
        Source(
            "recipients of a mail",
            "https://docs.aws.amazon.com/sdkfornet1/latest/apidocs/html/M_Amazon_SimpleEmail_AmazonSimpleEmailService_SendRawEmail.htm",
        ),
    ),
)
_PRESETS: Final = {
    "gmail": _GMAIL,
    "gmail:workspace": replace(
        _GMAIL,
        title="Gmail, a mailbox of Google Workspace",
        limits="2000/day, 3000 recipients/day",
        sources=(
            _GOOGLE_HOSTS,
            Source("2,000 mails a day, recipients of a mail", _GOOGLE_LIMITS),
            Source("3,000 external recipients a day", "https://smith.edu/tara/googleapps/mail_limits.html"),
        ),
    ),
    "google-relay": Preset(
        "Google Workspace SMTP relay",
        "smtp-relay.gmail.com",
        login="optional",
        oauth="google",
        limits="10000/day",
        recipients=100,
        advice=(
            "an administrator must set up the SMTP relay service, and allow this machine's address or SMTP AUTH",
            "the limit is for each user; the organisation's own is higher",
        ),
        sources=(
            Source("host, port, TLS, ways to log in", "https://support.google.com/a/answer/2956491"),
            Source(
                "10,000 a day for a user", "https://inflowave.netlify.app/resources/smtp-credentials-google-workspace"
            ),
            Source("recipients of a mail", _GOOGLE_LIMITS),
        ),
    ),
    "microsoft365": Preset(
        "Microsoft 365",
        "smtp.office365.com",
        oauth="microsoft",
        limits="30/min, 10000 recipients/day",
        recipients=500,
        connections=3,
        advice=(
            "SMTP AUTH must be enabled for the mailbox, and not be forbidden by the tenant's security defaults",
            "from January 2027 on, passwords are off by default for SMTP AUTH: use OAuth (oauth_provider microsoft)",
        ),
        sources=(
            Source(
                "3 connections for a mailbox, 10,000 recipients a day",
                "https://techcommunity.microsoft.com/t5/exchange-team-blog/changes-coming-to-the-smtp-authenticated-submission-client/ba-p/607825",
            ),
            Source(
                "30 a minute, recipients of a mail",
                "https://northcentral.teamdynamix.com/TDClient/1980/Portal/KB/ArticleDet?ID=70527",
            ),
            Source("host, port, TLS", "https://accredo.co.nz/webhelp/Office365AndSMTP.htm"),
            Source("the end of passwords", "https://app.cloudscout.one/evergreen-item/MC786329"),
        ),
    ),
    "sendgrid": Preset(
        "SendGrid",
        "smtp.sendgrid.net",
        username="apikey",
        password_is='an API key with the permission "Mail Send"',  # noqa: S106 - what to put there
        recipients=1000,
        connections=10_000,
        messages=5000,
        advice=(
            "the user name is the word apikey, the password is the key itself",
            "senders must be verified before anything is taken",
        ),
        sources=(
            Source(
                "host, port, user name, mails a connection, connections",
                "https://www.twilio.com/docs/sendgrid/for-developers/sending-email/integrating-with-the-smtp-api",
            ),
            Source("recipients of a mail", "https://sendgrid.com/docs/Integrate/index.html"),
        ),
    ),
    "mailgun": _MAILGUN,
    "mailgun:eu": replace(_MAILGUN, title="Mailgun, European region", host="smtp.eu.mailgun.org"),
    "postmark": Preset(
        "Postmark",
        "smtp.postmarkapp.com",
        username_is="the server's token, or an access key; left out, the password is used",
        password_is="the server's token, or a secret key",  # noqa: S106 - what to put there
        is_username_the_password=True,
        recipients=50,
        message_bytes=10_485_760,
        connections=10,
        advice=("SMTP must be enabled in the server's settings, and senders must be confirmed",),
        sources=(
            Source("host, ports, token", "https://postmarkapp.com/developer/user-guide/send-email-with-smtp"),
            Source("size and recipients of a mail", "https://postmarkapp.com/developer"),
            Source(
                "connections (asked for, not enforced, for each IP address)",
                "https://postmarkapp.com/support/article/do-we-have-rate-limits-for-smtp",
            ),
        ),
    ),
    "brevo": Preset(
        "Brevo",
        "smtp-relay.brevo.com",
        username_is="the SMTP login of the account",
        password_is="an SMTP key",  # noqa: S106 - what to put there
        advice=("it takes an SMTP key: an API key is refused",),
        sources=(
            Source("ports, key", "https://developers.brevo.com/docs/smtp-integration"),
            Source("host, STARTTLS", "https://smtptester.org/guides/brevo-smtp-test/"),
        ),
    ),
    "mailjet": Preset(
        "Mailjet",
        "in-v3.mailjet.com",
        username_is="the API key",
        password_is="the secret key",  # noqa: S106 - what to put there
        advice=("senders or their domains must be validated first",),
        sources=(Source("host, ports, TLS, keys", "https://smtptester.org/guides/mailjet-smtp-test/"),),
    ),
    "sparkpost": _SPARKPOST,
    "sparkpost:eu": replace(_SPARKPOST, title="SparkPost, European region", host="smtp.eu.sparkpostmail.com"),
    "zoho": _ZOHO,
    "zoho:eu": replace(_ZOHO, title="Zoho Mail, Europe", host="smtp.zoho.eu"),
    "zoho:in": replace(_ZOHO, title="Zoho Mail, India", host="smtp.zoho.in"),
    "zoho:au": replace(_ZOHO, title="Zoho Mail, Australia", host="smtp.zoho.com.au"),
    "zoho:jp": replace(_ZOHO, title="Zoho Mail, Japan", host="smtp.zoho.jp"),
    "fastmail": Preset(
        "Fastmail",
        "smtp.fastmail.com",
        465,
        "implicit",
        advice=("it takes no ordinary password: make an app password with access to mail",),
        sources=(Source("host, ports, TLS, app password", "https://xenocept.com/docs/email-setup/fastmail.html"),),
    ),
    "icloud": Preset(
        "iCloud Mail",
        "smtp.mail.me.com",
        limits="1000/day, 1000 recipients/day",
        recipients=500,
        message_bytes=20_000_000,
        advice=("it takes no ordinary password: make an app-specific password for the Apple account",),
        sources=(
            Source("a day, recipients and size of a mail", "https://support.apple.com/en-ca/102198"),
            Source("host, port, TLS", "https://github.com/chatmail/provider-db/blob/master/_providers/icloud.md"),
        ),
    ),
    "yahoo": Preset(
        "Yahoo Mail",
        "smtp.mail.yahoo.com",
        465,
        "implicit",
        limits="500 recipients/day",
        recipients=100,
        advice=("it takes no ordinary password: make an app password",),
        sources=(
            Source("a day, recipients of a mail", "https://help.yahoo.com/mkb/article.php?id=SLN17518"),
            Source("host, port, TLS", "https://github.com/chatmail/provider-db/blob/master/_providers/yahoo.md"),
        ),
    ),
    "postfix": Preset(
        "Postfix on this machine",
        "localhost",
        25,
        "none",
        "optional",
        username_is="",
        password_is="",
        advice=("Postfix takes mail for others from machines in its mynetworks: 127.0.0.1 must be one of them",),
        sources=(Source("port 25", "https://www.rfc-editor.org/rfc/rfc5321"),),
    ),
    "mailpit": _MAILPIT,
    "mailhog": replace(
        _MAILPIT,
        title="MailHog",
        sources=(Source("port", "https://github.com/mailhog/MailHog/blob/master/docs/CONFIG.md"),),
    ),
}
