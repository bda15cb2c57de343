"""What a Redis is worth to a real service."""

import statistics
import time

import httpx

from tests.support import service as services

AT_LEAST = 20
"""Times as fast as computing it an answer from the cache must be."""
MISSES, HITS = 7, 60


def test_a_kept_answer_comes_many_times_faster(astronaut_jpeg, redis):
    pictures = [astronaut_jpeg + bytes([number]) for number in range(MISSES)]  # which no decoder minds
    with services.running({"REDIS_CACHE_URL": redis.url}) as service:
        with httpx.Client(base_url=service.url, timeout=60) as client:

            def seconds(picture: bytes, status: str) -> float:
                began = time.perf_counter()
                told = client.post("/v1/parse", content=picture)
                took = time.perf_counter() - began
                assert (told.status_code, told.headers["cache-status"]) == (200, status)
                return took

            client.post("/v1/parse", content=astronaut_jpeg)  # the first of all takes longest
            misses = [seconds(picture, "fpan; fwd=miss") for picture in pictures]
            until = time.monotonic() + 20
            while len(redis.client.keys("fpan:answer:*")) < 1 + MISSES:
                assert time.monotonic() < until
                time.sleep(0.01)
            hits = [seconds(pictures[number % MISSES], "fpan; hit") for number in range(HITS)]
            exposed = client.get("/metrics").text
        assert statistics.median(misses) > AT_LEAST * statistics.median(hits)
        assert f'fpan_cache_requests_total{{outcome="hit"}} {HITS}.0' in exposed
        assert 'fpan_redis_up{role="cache"} 1.0' in exposed
        assert sum("CACHE_KEY is empty" in line for line in service.lines) == 1
        assert not any(redis.url in line for line in service.lines)
