"""Who takes which permits: nobody shuts others out by waiting, handing in or listening."""

from contextlib import AsyncExitStack, ExitStack

import pytest
from fpan.serve.admission.admission import Access, Admission, Capacity
from fpan.serve.admission.caller import Credentials
from fpan.serve.admission.rate_limits import RateLimiter
from fpan.serve.api.errors import Overloaded, RateLimited, TooLarge
from fpan.serve.cache.secret import Secret
from fpan.serve.config import Settings
from fpan.serve.telemetry.metrics import Metrics

SOMEBODY, OTHER = Credentials(None, None, None, "192.0.2.1"), Credentials(None, None, None, "192.0.2.2")
PARSE, UPLOAD = Access("parse", limited=True), Access("jobs", limited=True, pool="uploads")


def admission(per_minute=0, **settings):
    made = Settings(**settings)
    metrics = Metrics()
    rates = RateLimiter(None, Secret(made), metrics)
    return Admission(Capacity.of(made), None, metrics, rates, per_minute)


async def let_in(stack, door, access=PARSE, background=False):
    return await stack.enter_async_context(door.admit(SOMEBODY, access, background))


@pytest.mark.parametrize(
    ("chosen", "share"),
    [
        ({"max_concurrency": 8}, 2),
        ({"max_concurrency": 2}, 1),
        ({"max_concurrency": 8, "max_background_concurrency": 5}, 5),
    ],
)
async def test_background_requests_have_a_share_and_leave_the_rest(chosen, share):
    door = admission(**chosen)
    async with AsyncExitStack() as stack:
        for _ in range(share):
            await let_in(stack, door, background=True)
        with pytest.raises(Overloaded, match=f"^{share} background requests"):
            await let_in(stack, door, background=True)
        for _ in range(chosen["max_concurrency"] - share):
            await let_in(stack, door)
        with pytest.raises(Overloaded, match="requests are being handled"):
            await let_in(stack, door)
    async with AsyncExitStack() as stack:  # all are given back
        for _ in range(share):
            await let_in(stack, door, background=True)


async def test_uploads_of_jobs_and_requests_do_not_take_each_others_permits():
    door = admission(max_concurrency=1, max_job_uploads=2)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await let_in(stack, door, UPLOAD, background=True)
        with pytest.raises(Overloaded, match="2 jobs are being handed in"):
            await let_in(stack, door, UPLOAD)
        await let_in(stack, door)


async def test_each_caller_has_so_many_streams_of_events():
    door = admission(max_event_streams=2)
    somebody, other = (door.identify(each, Access()) for each in (SOMEBODY, OTHER))
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(door.streaming(somebody))
        with pytest.raises(Overloaded, match="2 streams"):
            stack.enter_context(door.streaming(somebody))
        stack.enter_context(door.streaming(other))
    with door.streaming(somebody):
        pass


async def test_what_no_quota_could_pay_is_told_so_and_not_to_come_again():
    door = admission(per_minute=5)
    async with door.admit(SOMEBODY, PARSE) as (caller, allowance):
        assert allowance.remaining == 4
        with pytest.raises(TooLarge, match="5 requests a minute") as refused:
            await door.spend(caller, 6)
        assert refused.value.retry_after_s is None
        assert (await door.spend(caller, 3)).remaining == 2
        assert await door.spend(caller, 1) is None
        with pytest.raises(RateLimited) as later:
            await door.spend(caller, 5)
        assert later.value.retry_after_s
