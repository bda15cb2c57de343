"""The paper's figure 2 in one command: the modules are trained, then what they know teaches SEGM."""
