"""What keeps the two prompts apart (paper Eq. 3 to 6): discriminators, CLUB, and the networks' own memory."""

from .auxiliary import AuxiliaryNetworks
from .discriminators import Discriminator
from .feature_queue import FeatureQueue
from .gradient_reversal import AdversarialSchedule

__all__ = ["AdversarialSchedule", "AuxiliaryNetworks", "Discriminator", "FeatureQueue"]
