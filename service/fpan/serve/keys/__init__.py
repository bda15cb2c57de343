"""API keys: the file of their hashes, what tells who presents one, and how they are made."""
