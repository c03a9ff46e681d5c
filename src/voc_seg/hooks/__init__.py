"""Everything around a run: checks, messages, locks, ranks and tracking. Computation does not belong here."""
