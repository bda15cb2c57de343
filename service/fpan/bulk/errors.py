"""What can go wrong with a run as a whole: one tree. What is wrong with one picture is in its row.

::

    BulkError
    |-- PlaceError      an address that cannot be opened, listed, read or written
    |-- OtherOrder      the destination belongs to other work
    |-- GatewayGone     no gateway answers, or not as it must
    |-- WorkerLost      a node of the cluster was lost, or sees other files
    `-- Interrupted     the run was told to stop
"""


class BulkError(Exception):
    """A run cannot go on. ``str()`` is for people; finished shards stay, and the same command goes on from there."""


class PlaceError(BulkError):
    """An address cannot be used."""


class OtherOrder(BulkError):
    """What lies at the destination is of another order."""


class GatewayGone(BulkError):
    """The gateways do not answer as they must."""


class WorkerLost(BulkError):
    """A worker of a cluster cannot work."""


class Interrupted(BulkError):
    """The run was told to stop."""
