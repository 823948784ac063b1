"""What a bundle is: sources, digest, metadata, effects, compliance, repository, carrier, manager."""
