"""How many connections a pool keeps, and for how long."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from smtp_transport.fields import DAY, Frozen, Seconds


class PoolConfig(Frozen):
    """How many connections are kept, and for how long.

    `min_idle`: so many are kept open and unused, ready to be lent, as far as `max_connections` allows; they are opened
    ahead from the first use of the pool on. `idle_timeout`: a connection unused for longer is closed, save `min_idle`
    of them. `max_lifetime`: one older is not used again. `max_messages`: nor is one that carried so many mails (None:
    no bound). `health_check_after`: one unused for longer must answer a NOOP first. `health_check_interval`: so often
    the connections that `min_idle` keeps are looked after when nobody asks for one.
    """

    max_connections: int = Field(default=5, ge=1, le=20)
    min_idle: int = Field(default=0, ge=0, le=20)
    acquire_timeout: Seconds = 30.0
    idle_timeout: Annotated[Seconds, Field(le=1_800)] = 300.0
    max_lifetime: Annotated[Seconds, Field(le=14_400)] = 3_600.0
    max_messages: int | None = Field(default=None, ge=1)
    health_check_after: float = Field(default=60.0, ge=0, le=DAY, allow_inf_nan=False)
    health_check_interval: Seconds = 60.0

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.min_idle > self.max_connections:
            raise ValueError(
                f"min_idle: {self.min_idle} cannot be kept among max_connections={self.max_connections}; lower it"
            )
        return self
