"""Files and objects that are there whole or not at all: registry, jobs and bulk labelling stand on it."""
