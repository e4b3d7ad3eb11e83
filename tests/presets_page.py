"""Write docs/presets.md from what `mailworker.policy.presets` holds: `python -m tests.presets_page`."""

from collections.abc import Iterator
from pathlib import Path

from mailworker.policy.presets import Preset, all_presets

PAGE = Path(__file__).parents[1] / "docs" / "presets.md"
_HEAD = """# Presets

What is known of providers, so that a name and a secret are enough:

    MAILWORKER_RELAY=ses:eu-west-1
    MAILWORKER_RELAYS__DEFAULT__USERNAME=…
    MAILWORKER_RELAYS__DEFAULT__PASSWORD=…

or in the file, `relay = "ses:eu-west-1"` at its top; for a relay of another name `relays.NAME.preset = "gmail"`.
Whatever you set yourself wins. `mailworker relay check` tries it. [relays.md](relays.md) tells the rest.

The figures are the providers' own as far as a page of theirs could be had, else those of the page that is named. The
day is the one on which that page was read in a stored copy, which may be older. Where no figure stands, none was found,
or none is the same for everybody. Providers change them: a relay that complains is slowed down whatever stands here.

This page is written by `make docs-table`.
"""


def written() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_figures(), "", *_words()]) + "\n"


def _figures() -> Iterator[str]:
    yield "## Figures\n"
    head = ("preset", "host", "port, TLS", "limits", "recipients of a mail", "bytes of a mail")
    yield f"| {' | '.join(head)} | connections | mails a link | idle s |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, preset in all_presets().items():
        cells = (
            f"`{name}`",
            preset.host.replace("{region}", "REGION"),
            f"{preset.port}, {preset.tls}",
            preset.limits,
            preset.recipients,
            preset.message_bytes,
            preset.connections,
            preset.messages,
            preset.idle_seconds,
        )
        yield "| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |"


def _words() -> Iterator[str]:
    yield "## Who logs in how, and where that is written\n"
    for name, preset in all_presets().items():
        yield f"### `{name}`: {preset.title}\n"
        yield f"- {_login(preset)}"
        yield from (f"- {advice}" for advice in preset.advice)
        yield from (f"- {source.told}: <{source.address}> ({source.read})" for source in preset.sources)
        yield ""


def _login(preset: Preset) -> str:
    if preset.login == "none":
        return "no login"
    user = f"`{preset.username}`, which is filled in" if preset.username else preset.username_is
    told = f"user name: {user}; password: {preset.password_is}" if user else "no login needed"
    told += "; may be left out" if preset.login == "optional" and user else ""
    return told + (f'; or OAuth (`oauth_provider = "{preset.oauth}"`)' if preset.oauth else "")


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
