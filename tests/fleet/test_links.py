"""A relay's connections are shared, exact, and come free when a process dies."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fleet.conftest import RELAY, World


def test_all_processes_together_have_no_more_than_the_most(world: World) -> None:
    links = world.links(5)
    assert links.lease("a", 3, 10_000).links == 3
    held = links.lease("b", 4, 10_000)
    assert (held.links, held.all_links, held.most) == (2, 5, 5)
    assert links.lease("c", 1, 10_000).links == 0


def test_what_a_dead_process_held_comes_free(world: World) -> None:
    links = world.links(2)
    links.lease("dead", 2, 10_000)
    world.now += 9999
    assert links.lease("b", 2, 10_000).links == 0
    world.now += 1
    assert links.lease("b", 2, 10_000).links == 2


def test_what_is_given_back_is_free_at_once(world: World) -> None:
    links = world.links(2)
    links.lease("a", 2, 10_000)
    assert links.lease("a", 0, 10_000).all_links == 0
    assert links.lease("b", 2, 10_000).links == 2
    assert links.report().holders == {"b": 2}


def test_whoever_has_none_gets_an_equal_share_as_others_renew(world: World) -> None:
    links = world.links(6)
    links.lease("a", 6, 10_000)
    assert links.lease("b", 6, 10_000).links == 0
    world.now += 500
    assert links.lease("a", 6, 10_000).links == 6, "it may have asked in passing"
    assert links.lease("b", 6, 10_000).links == 0
    assert links.lease("a", 6, 10_000).links == 3
    assert links.lease("b", 6, 10_000).links == 3


def test_a_complaint_lowers_the_most_and_quiet_raises_it_again(world: World) -> None:
    links = world.links(10)
    links.lease("a", 6, 20_000)
    assert links.crowded("a") == (5, True)
    assert links.lease("a", 6, 20_000).links == 5
    assert links.report().learnt == 5
    world.now += 300_000
    assert links.lease("a", 10, 20_000).most == 6
    world.now += 4 * 300_000
    assert links.lease("a", 10, 20_000).most == 10
    assert links.report().learnt is None


def test_a_complaint_never_closes_the_last_connection(world: World) -> None:
    links = world.links(3)
    links.lease("a", 1, 10_000)
    assert links.crowded("a")[0] == 1


def test_complaints_of_one_moment_find_out_how_many_the_relay_stands_and_halve_it_at_most(world: World) -> None:
    links = world.links(100)
    for n in range(50):
        links.lease(f"w{n}", 1, 10_000)
    told = [links.crowded(f"w{n}") for n in range(20)]
    assert told[-1] == (30, True)
    assert [links.crowded(f"w{n}")[0] for n in range(20, 50)][-1] == 25
    world.now += 1000
    assert links.crowded("w49")[0] == 24


def test_what_is_open_counts_until_it_is_closed(world: World) -> None:
    links = world.links(2)
    links.lease("a", 2, 10_000)
    links.lease("b", 1, 10_000)
    world.now += 500
    links.lease("b", 1, 10_000)
    assert links.lease("a", 2, 10_000, still_open=2).links == 1
    assert links.lease("b", 1, 10_000).links == 0
    assert links.lease("a", 2, 10_000, still_open=1).links == 1
    assert links.lease("b", 1, 10_000).links == 1


def test_where_there_are_fewer_links_than_processes_they_take_turns(world: World) -> None:
    links = world.links(2)
    had: dict[str, int] = dict.fromkeys("abcde", 0)
    for _ in range(600):
        world.now += 500
        for who in had:
            had[who] += links.lease(who, 2, 20_000).links
        assert sum(links.report().holders.values()) <= 2
    assert sum(had.values()) >= 0.95 * 2 * 600
    assert min(had.values()) >= 0.7 * max(had.values()), had


def test_whoever_waits_and_asks_no_more_keeps_no_link_from_others(world: World) -> None:
    links = world.links(1)
    links.lease("a", 1, 20_000)
    links.lease("gone", 1, 20_000)
    world.now += 3000
    links.lease("a", 0, 20_000)
    assert links.lease("b", 1, 20_000).links == 1


def test_a_clock_that_is_set_back_keeps_no_dead_holder(world: World) -> None:
    links = world.links(1)
    links.lease("dead", 1, 20_000)
    world.now -= 3_600_000
    assert links.lease("b", 1, 20_000).links == 1


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    most=st.integers(1, 12),
    asks=st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 8), st.integers(0, 4000), st.integers(0, 8)), max_size=60
    ),
)
def test_the_sum_never_exceeds_the_most(world: World, most: int, asks: list[tuple[str, int, int, int]]) -> None:
    """Whatever is still open, of what somebody had, is his until he says that it is closed."""
    world.redis.flushall()
    links = world.links(most)
    held: dict[str, tuple[int, int]] = {}
    for who, want, step, busy in asks:
        world.now += step
        had, till = held.get(who, (0, 0))
        still_open = min(busy, had) if till > world.now else 0
        may = links.lease(who, want, 5000, still_open=still_open).links
        held[who] = (max(may, still_open), world.now + 5000)
        assert sum(count for count, till in held.values() if till > world.now) <= most


def test_relays_of_one_host_share_its_connections(world: World) -> None:
    """Leases are named by what they are of, so a relay's and its host's are counted apart."""
    assert world.keys.links("relay", RELAY) != world.keys.links("host", RELAY)
