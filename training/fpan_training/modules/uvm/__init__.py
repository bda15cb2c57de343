"""UVM, which completes the texture and the labels of half-seen faces, and shows them at other poses."""
