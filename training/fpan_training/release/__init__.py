"""From a trained network to the version that answers: export, gates, registration, deployment."""
