"""The published vocabularies of question sets, which a file has to keep to and scores are grouped by.

Imports nothing, so that metrics stay as light as they are. (Paper section 4.1. Sources: MME's paper, VLMEvalKit's
`mmbench_video.py` and MMBench's files.)
"""

# MME: its tasks by the sum that they enter.
PERCEPTION = (
    *("existence", "count", "position", "color", "posters"),
    *("celebrity", "scene", "landmark", "artwork", "OCR"),
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
MME_TASKS = (*PERCEPTION, *COGNITION)
ASKED_OF_EACH = 2  # questions about a picture of a task

# MMBench numbers the circular copies of question i as i + k * 1,000,000.
ROTATION = 1_000_000

# MMBench-Video: abilities by their group.
ABILITIES = {
    "CP": ("Video Topic", "Video Emotion", "Video Scene", "Video Style"),
    "FP-S": (
        *("OCR", "Object Recognition", "Attribute Recognition"),
        *("Event Recognition", "Human Motion", "Counting"),
    ),
    "FP-C": ("Spatial Relationship", "Human-object Interaction", "Human Interaction"),
    "HL": ("Hallucination",),
    "LR": ("Structuralized Image-Text Understanding", "Mathematical Calculation"),
    "AR": ("Physical Property", "Function Reasoning", "Identity Reasoning"),
    "RR": ("Natural Relation", "Physical Relation", "Social Relation"),
    "CSR": ("Common Sense Reasoning",),
    "TR": ("Counterfactual Reasoning", "Causal Reasoning", "Future Prediction"),
}
LEAVES = tuple(leaf for leaves in ABILITIES.values() for leaf in leaves)

__all__ = ["ABILITIES", "ASKED_OF_EACH", "COGNITION", "LEAVES", "MME_TASKS", "PERCEPTION", "ROTATION"]
