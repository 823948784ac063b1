"""The distributed hashmap: rows, merge and membership, pure; and the multicast that carries it."""
