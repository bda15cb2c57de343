"""What is fetched from addresses that callers name, and the guard before it."""
