"""river's drift detectors, without a second's wait for scipy.stats: KSWIN alone uses and loads it."""

import sys
from importlib.util import LazyLoader, find_spec, module_from_spec


def _put_off(package: str, name: str) -> None:
    """Let `from package import name` give a module that is loaded at the first use of anything in it."""
    whole = f"{package}.{name}"
    spec = find_spec(whole)
    if whole in sys.modules or spec is None or spec.loader is None:
        return
    spec.loader = LazyLoader(spec.loader)
    module = module_from_spec(spec)
    sys.modules[whole] = module
    spec.loader.exec_module(module)
    setattr(sys.modules[package], name, module)


_put_off("scipy", "stats")

from river.base import DriftDetector  # noqa: E402
from river.drift.adwin import ADWIN  # noqa: E402
from river.drift.page_hinkley import PageHinkley  # noqa: E402

__all__ = ["ADWIN", "DriftDetector", "PageHinkley"]
