"""Input: pictures, videos, folders, cameras, streams, as RGB frames. See docs/decisions/0008."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
