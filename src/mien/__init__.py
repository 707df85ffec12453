"""mien: facial expression recognition. It names the expression on a face, never the feelings of a person.

The names below and those of each folder are public. Each is imported on first use, so `import mien` is quick.
"""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Find the public names when the first is needed: lazy_loader takes longer than all that starts the program."""
    import lazy_loader

    names = globals()
    names["__getattr__"], names["__dir__"], names["__all__"] = lazy_loader.attach_stub(__name__, __file__)
    return names["__all__"] if name == "__all__" else names["__getattr__"](name)


def __dir__() -> list[str]:
    return list(__getattr__("__all__"))  # type: ignore[call-overload]
