"""Makes the committed face model out of ICT-FaceKit (MIT): fewer vertices, one atlas, parts, MediaPipe's landmarks.

Everything in here keeps ICT-FaceKit's own frame (centimetres, y up, z towards the viewer); what is written is turned
into the frame of pictures.
"""
