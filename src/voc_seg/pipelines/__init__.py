"""One folder per pipeline: its nodes and their wiring; computation lives in the rooms below."""
