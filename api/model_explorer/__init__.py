"""An extension for Google's Model Explorer: costs over the graph, operator by operator.

    model-explorer model.tflite --extensions=api.model_explorer

Model Explorer loads `api.model_explorer.main`; PERFSAGE_PREDICTOR names the predictor.
"""
