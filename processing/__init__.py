"""Ground floor: pictures, videos, text and clicks to model inputs; model outputs to results."""
