"""Everything around a run: checks before it, messages, locks, processes and tracking; no computation belongs here."""
