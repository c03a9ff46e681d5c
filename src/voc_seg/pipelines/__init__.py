"""One folder per pipeline: its nodes and how they are connected. They call the packages below."""
