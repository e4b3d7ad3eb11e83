"""All times on the command line are written alike, and what was written before means what it meant."""

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mailworker.cli import main
from mailworker.cli.durations import Duration

TIMED = {
    ("lane", "pause", "--for"): "s",
    ("mail", "list", "--older-than"): "h",
    ("mail", "requeue", "--younger-than"): "h",
    ("suppress", "add", "--expires"): "d",
    ("suppress", "import", "--expires"): "d",
    ("send", "--countdown"): "s",
    ("send", "--wait"): "s",
    ("worker", "check", "--timeout"): "s",
}
UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def read(text: str, **how: object) -> float:
    return Duration(**how).convert(text, None, None)


def command_of(words: tuple[str, ...]) -> click.Command:
    context = click.Context(main)
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None
        command = found
    return command


def every_option(command: click.Command, above: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Parameter]]:
    if not isinstance(command, click.Group):
        return [((*above, option.opts[0]), option) for option in command.params if isinstance(option, click.Option)]
    context = click.Context(command)
    inner = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return [found for name, each in inner.items() if each for found in every_option(each, (*above, name))]


def test_every_option_that_takes_a_time_takes_it_alike():
    timed = {path for path, option in every_option(main) if isinstance(option.type, Duration)}
    assert set(TIMED) <= timed
    others = [path for path, option in every_option(main) if isinstance(option.type, click.FloatRange)]
    assert others == []


@pytest.mark.parametrize(("path", "bare"), TIMED.items())
def test_a_number_alone_means_what_it_has_always_meant(path, bare):
    (option,) = [option for option in command_of(path[:-1]).params if path[-1] in option.opts]
    assert option.type.convert("2", None, None) == 2 * UNITS[bare]
    assert option.type.convert("2s", None, None) == 2


@given(number=st.integers(1, 99), unit=st.sampled_from([*UNITS]), blank=st.sampled_from(["", " "]))
def test_a_unit_says_what_is_meant_whatever_a_bare_number_would(number, unit, blank):
    written = f"{number}{blank}{unit.upper() if number % 2 else unit}"
    assert {read(written, bare=bare) for bare in "smhd"} == {number * UNITS[unit]}


@given(text=st.one_of(st.text(max_size=9), st.from_regex(r"[0-9.]{1,15} ?[a-z]{0,3}", fullmatch=True)))
def test_whatever_is_typed_is_a_time_within_bounds_or_refused(text):
    told = ""
    try:
        seconds = read(text)
    except click.BadParameter as error:
        told, seconds = error.message, 0.0
    assert 0 <= seconds <= 100 * 365 * 86_400
    assert not told or any(cure in told for cure in ("30s, 5m, 2h or 1d", "out of range: from 0s to 36500d"))


@pytest.mark.parametrize("text", ["", "s", "-1s", "1e3", "nan", "inf", "1.2.3s", ".", "1w", "1h30m", "soon"])
def test_only_what_is_documented_is_a_time(text):
    with pytest.raises(click.BadParameter, match="30s, 5m, 2h or 1d"):
        read(text)


def test_bounds_are_told_in_the_same_words():
    told = CliRunner().invoke(main, ["worker", "check", "--timeout", "2m"])
    assert (told.exit_code, "from 0.1s to 1m" in told.output) == (2, True)
    none = CliRunner().invoke(main, ["lane", "pause", "news", "--for", "0h"])
    assert (none.exit_code, "no time at all" in none.output) == (2, True)
