"""Settings that every test shares."""

from hypothesis import settings

# The same examples in every run: a red test is red for everybody.
settings.register_profile("project", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("project")
