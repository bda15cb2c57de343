"""Atomic writes of files and objects, used by the registry, jobs and bulk labelling."""
