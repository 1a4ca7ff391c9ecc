from __future__ import annotations

from exploring import load_profile

load_profile()
