"""Wiring: which node takes what from the catalog and what it gives back."""
