"""Servers of other makes that do the same work: the same decoding, detector, network and PNG."""
