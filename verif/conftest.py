"""Settings of the test session."""

import os

from hypothesis import settings

# In CI the same examples every time: what is red there is red because of the change.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
