"""How we get into Python: meta-path finder and loader, program start-up."""
