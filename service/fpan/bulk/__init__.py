"""Bulk labelling: the pictures of a folder or an object store, to shards of Parquet or WebDataset.

::

    place       an address: local folder, s3://, gs://, ...
    order       all that decides what is written
    plan        the sorted list of pictures, cut into shards; written once, so that every run works on the same list
    labeller    pictures in, answers of the gateways out
    parquet, tars   what a shard is written as
    shard       label_shard: the unit of work, the same function wherever it runs
    worker      what runs it, in this process (crew) or on each node of a Ray cluster (on_ray)
    run         what is missing, handed out to the crew; reports, failures and manifest

It needs the extra ``[batch]`` (pyarrow); nothing here needs the server's.
"""
