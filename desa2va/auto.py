"""Register the package's classes with transformers' Auto classes (importing this module is enough).

Afterwards `AutoConfig`, `AutoModel` and `AutoProcessor` open a DeSa2VA folder with the installed classes, also when
the folder carries remote code and `trust_remote_code=True` is given, and `pipeline("referring-segmentation", ...)`
takes a loaded model. Never exported to the Hub.
"""

from .errors import imports_named

with imports_named():
    from transformers import AutoConfig, AutoModel, AutoProcessor
    from transformers.pipelines import PIPELINE_REGISTRY

    from desa2va.configuration.configuration_desa2va import DeSa2VAConfig
    from desa2va.modeling_desa2va.modeling_desa2va import DeSa2VAModel
    from desa2va.modeling_desa2va.pipeline import TASK, ReferringSegmentationPipeline
    from desa2va.processing.processing_desa2va import DeSa2VAProcessor

AutoConfig.register(DeSa2VAConfig.model_type, DeSa2VAConfig, exist_ok=True)
AutoModel.register(DeSa2VAConfig, DeSa2VAModel, exist_ok=True)
AutoProcessor.register(DeSa2VAConfig, DeSa2VAProcessor, exist_ok=True)
PIPELINE_REGISTRY.register_pipeline(TASK, ReferringSegmentationPipeline, pt_model=AutoModel, type="multimodal")
