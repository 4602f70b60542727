"""Which OpenStack instances answer a ping, beside what Nova says of them."""

__version__ = "0.1.0"

__all__ = ["__version__"]
