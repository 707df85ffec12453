"""mien: facial expression recognition. It names the expression on a face, never the feelings of a person.

The names below and those of each folder are public. Each is imported on first use, so `import mien` is quick.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
