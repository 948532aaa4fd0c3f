"""The model: language model, decoupling, segmenter, fusion, tracker."""
