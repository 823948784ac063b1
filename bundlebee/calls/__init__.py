"""Shipping: keys, wire format, pickling, client, worker, leases."""
