"""The tests: import from here as `tests.losses...`. Run `pytest` in the folder that holds this package."""
