"""Jobs: many pictures submitted at once, parsed with low priority, whose result is fetched later."""
