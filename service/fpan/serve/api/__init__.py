"""The contract without a transport: options, errors, problems, what a request carries."""
