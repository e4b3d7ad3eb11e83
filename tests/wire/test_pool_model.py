"""The pool against a model in plain Python: whatever is done in whatever order, the counts are exact."""

import gc

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from smtp_transport import ConnectionPool, PoolConfig, PoolError, SmtpConfig
from smtp_transport.testing import FaultServer, behaved


class PoolAgainstModel(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.server = FaultServer(behaved()).__enter__()
        self.now = 0.0
        self.leases = []

    @initialize(size=st.integers(1, 4), min_idle=st.integers(0, 1), mails=st.none() | st.integers(1, 3))
    def open_pool(self, size, min_idle, mails):
        self.limits = PoolConfig(
            max_connections=size, min_idle=min_idle, max_messages=mails, idle_timeout=100, max_lifetime=300
        )
        config = SmtpConfig(host=self.server.host, port=self.server.port, tls="none", pool=self.limits)
        self.pool = ConnectionPool(config, clock=lambda: self.now, chance=lambda: 0.0, tends_itself=False)

    @rule(check=st.booleans(), fresh=st.booleans())
    def acquire(self, check, fresh):
        if len(self.leases) < self.limits.max_connections:
            lease = self.pool.acquire(timeout=0, check=check, fresh=fresh)
            assert lease.connection.usable
            assert not (fresh and lease.is_reused)
            assert all(lease.connection is not other.connection for other in self.leases)
            self.leases.append(lease)
        else:
            try:
                self.pool.acquire(timeout=0)
            except PoolError:
                return
            raise AssertionError("a lease over the bound")

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), breaks=st.booleans(), mails=st.integers(0, 2))
    def release(self, data, breaks, mails):
        lease = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        lease.connection._carried.mails += mails
        if breaks:
            lease.connection.close()
        lease.release()
        lease.release()

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def drop(self, data):
        self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        gc.collect(0)

    @rule(seconds=st.sampled_from([1, 59, 61, 101, 301]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def tend(self):
        self.pool.tend()
        if self.limits.min_idle:
            status = self.pool.status()
            assert status.idle >= min(self.limits.min_idle, status.max_size - status.in_use)

    @rule(size=st.integers(1, 4))
    def configure(self, size):
        self.limits = self.limits.model_copy(update={"max_connections": size, "min_idle": 0})
        self.pool.configure(self.limits)

    @invariant()
    def counts_are_exact(self):
        if not hasattr(self, "pool"):
            return
        status = self.pool.status()
        assert status.in_use == len(self.leases)
        assert status.pending == 0
        assert status.total == status.idle + status.in_use
        assert status.max_size == self.limits.max_connections
        assert status.total <= status.max_size or status.idle == 0

    def teardown(self):
        self.leases.clear()
        if hasattr(self, "pool"):
            self.pool.close_all()
            status = self.pool.status()
            assert (status.total, status.pending) == (0, 0)
        self.server.stop()
        assert self.server.problems == []


TestPoolAgainstModel = PoolAgainstModel.TestCase
TestPoolAgainstModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
