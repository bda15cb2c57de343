"""How often a caller may ask."""

from fpan.serve.limits.allowance import Allowance, limit_fields
from fpan.serve.limits.limiter import RateLimiter

__all__ = ["Allowance", "RateLimiter", "limit_fields"]
