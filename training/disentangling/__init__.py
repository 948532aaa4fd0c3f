"""What keeps the two prompts apart (paper Eq. 3 to 6): discriminators, CLUB, and the networks' own memory."""

from .auxiliary import AuxiliaryNetworks
from .discriminators import Discriminator
from .feature_queue import FeatureQueue, gather_rows
from .gradient_reversal import AdversarialSchedule
from .standardisation import RunningStandardisation

__all__ = [
    "AdversarialSchedule",
    "AuxiliaryNetworks",
    "Discriminator",
    "FeatureQueue",
    "RunningStandardisation",
    "gather_rows",
]
