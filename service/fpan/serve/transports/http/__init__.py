"""HTTP in: routes, request bodies, problems, metrics."""
