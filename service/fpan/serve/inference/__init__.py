"""Where networks are computed: Triton or in process, behind one interface, and the batcher before it."""
