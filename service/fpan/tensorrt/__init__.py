"""TensorRT plans: how one is built for the GPU at hand, what is written down of it, and when it is used.

=================  ==================================================================================================
``supported``      whether a network has only what TensorRT's ONNX parser takes; no GPU is needed to tell
``typed``          the network as a strongly typed graph, in FP16 or INT8, with what decides the labels in FP32
``trtexec``        NVIDIA's own builder, as its image carries it
``build``          network to plan: built, compared with ONNX Runtime, kept whole or not at all
``manifest``       what a plan was built from and for
``plans``          a folder of plans, and the one that fits
=================  ==================================================================================================
"""
