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
    assert links.lease("a", 6, 10_000).links == 3
    assert links.lease("b", 6, 10_000).links == 3


def test_a_complaint_lowers_the_most_and_quiet_raises_it_again(world: World) -> None:
    links = world.links(10)
    links.lease("a", 6, 10**7)
    assert links.crowded() == 5
    assert links.crowded() == 5, "one complaint, heard by two workers"
    assert links.lease("a", 6, 10**7).links == 5
    assert links.report().learnt == 5
    world.now += 300_000
    assert links.lease("a", 10, 10**7).most == 6
    world.now += 4 * 300_000
    assert links.lease("a", 10, 10**7).most == 10
    assert links.report().learnt is None


def test_a_complaint_never_closes_the_last_connection(world: World) -> None:
    links = world.links(3)
    links.lease("a", 1, 10_000)
    assert links.crowded() == 1


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    most=st.integers(1, 12),
    asks=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 8), st.integers(0, 4000)), max_size=60),
)
def test_the_sum_never_exceeds_the_most(world: World, most: int, asks: list[tuple[str, int, int]]) -> None:
    world.redis.flushall()
    links = world.links(most)
    held: dict[str, tuple[int, int]] = {}
    for who, want, step in asks:
        world.now += step
        held[who] = (links.lease(who, want, 5000).links, world.now + 5000)
        assert sum(count for count, till in held.values() if till > world.now) <= most


def test_relays_of_one_host_share_its_connections(world: World) -> None:
    """Leases are named by what they are of, so a relay's and its host's are counted apart."""
    assert world.keys.links("relay", RELAY) != world.keys.links("host", RELAY)
