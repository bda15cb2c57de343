"""Long work: many pictures handed in once, parsed when nobody else waits, fetched later."""
