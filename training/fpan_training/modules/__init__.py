"""The five networks of Mask-FPAN: LOM, DOM, UVM, PPM and SEGM, each with its model, loss, data and training."""
