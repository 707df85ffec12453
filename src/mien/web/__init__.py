"""A page and a service: expressions in the browser and for other programs. See docs/guides/web.md."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
