"""How the outputs of each detector are to be read."""

from fpan_training.data.packages import DetectorName
from fpan_training.release.detector.surgery import STRIDES, Heads, Layout


def _retinaface(head: str) -> tuple[str, ...]:
    return tuple(f"/{head}/Transpose{suffix}_output_0" for suffix in ("", "_1", "_2"))


LAYOUTS: dict[DetectorName, Layout] = {
    "retinaface": Layout(
        heads=Heads((_retinaface("class_head"),), _retinaface("bbox_head"), _retinaface("landmark_head")),
        anchors=((16, 32), (64, 128), (256, 512)),
        anchor_offset=0.5,
        centre_variance=0.1,
        size_variance=0.2,
        mean_bgr=(104, 117, 123),
        two_logits=True,
        shift=-0.5,
    ),
    "yunet": Layout(
        heads=Heads((("281", "293", "305"), ("317", "329", "341")), ("353", "364", "375"), ("386", "397", "408")),
        anchors=tuple((float(stride),) for stride in STRIDES),
        anchor_offset=0.0,
        centre_variance=1.0,
        size_variance=1.0,
        mean_bgr=(0, 0, 0),
        two_logits=False,
        shift=-0.5,
    ),
}
"""Anchors and variances: Pytorch_Retinaface's ``cfg_mnet``; YuNet: ``FaceDetectorYNImpl`` of OpenCV."""
