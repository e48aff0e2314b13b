"""Where agents keep what they see of an environment; tests take it from here."""

try:
    from agents.spaces import Interface
except ImportError:
    from agents.interface import Interface

__all__ = ["Interface"]
