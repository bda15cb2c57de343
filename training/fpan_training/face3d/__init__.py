"""A 3D face for every picture: model, fit, rasteriser, UV maps, export, and the rendered faces of the smoke tests.

Points and vertices are float (N, 3): x right, y down, z away from the camera, in pixels of the picture (weak
perspective: depth has the same scale). The model itself stands in the same frame, in ICT-FaceKit's units of about a
centimetre, and looks at the camera, along -z.
"""
