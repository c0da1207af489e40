"""What steers the array: the controller and its parts, the drain, and the skid buffer."""

from .controller import Controller
from .drain import Drain
from .skid import Skid

__all__ = ["Controller", "Drain", "Skid"]
