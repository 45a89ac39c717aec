"""The loss report: what a format contains of each class and shape, and what it leaves out, counted by reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from label_catalog.core.labelled_data import Annotation

# Every reason in a report. Reasons of the first group leave something out, those of the second reduce it.
LEFT_OUT = {
    "shape": "the format has no such shape",
    "classification": "the format has no classes for whole images",
    "geometry": "the geometry cannot be read",
    "size_unknown": "the width and height of the data unit are not known",
    "outside_image": "nothing of the object is inside the image",
    "class_unknown": "the ontology has no class with this feature hash",
    "no_frame": "it is on the whole video, and on no frame of it",
    "unknown_unit": "the label row has no such data unit",
    "not_parsed": "the label is too large or cannot be read, so that the index has no annotations of it",
    "no_data_unit": "the label row has no data unit",
    "video_without_annotations": "the video has no labelled frame",
    "dicom": "this format's readers do not open DICOM slices",
    "nifti": "this format's readers do not open NIfTI slices",
    "pdf": "pages of PDF files are not images",
    "audio": "audio has no images",
    "text": "text has no images",
    "time_series": "time series have no images",
    "scene": "point clouds have no images",
    "deleted": "the data unit is deleted",
    "other": "the data unit's type is not known",
}
REDUCED = {
    "rotated_box": "the box is the one around the rotated box",
    "rotation": "the rotated box is a polygon of four corners; its angle is an attribute",
    "outline": "only the box around the outline is written",
    "mask": "only the box around the mask is written",
    "keypoints": "only the box around the skeleton is written",
    "holes": "the polygon's holes are kept in a mask of whole pixels",
    "approximated": "the curve is a polygon of 64 corners",
    "track": "the format has no tracks; the track's hash is an extra field",
    "no_track": "the format has no tracks",
    "nested_attributes": "attributes of an attribute's option stand beside it, or are kept as JSON within JSON",
    "attributes": "the format has no attributes",
    "image_classification": "the class of the whole image is an extra field of the image",
}


@dataclass(slots=True)
class _Counted:
    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    reduced: Counter[str] = field(default_factory=Counter)


class Losses:
    """The counts while a format is written.

    An annotation is counted once for each of its frames: as written, or as left out for one reason.
    """

    def __init__(self) -> None:
        self._classes: dict[tuple[str, str, str, str], _Counted] = defaultdict(_Counted)
        self._labels: Counter[str] = Counter()
        self.labels = 0
        self.images = 0

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Losses:
        """Return the counts of a document that `as_document` returned, to continue counting."""
        losses = cls()
        losses.labels, losses.images = document["labels"], document["images"]
        losses._labels.update(document["labels_without_image"])
        for item in document["classes"]:
            counted = _Counted(item["written"], Counter(item["left_out"]), Counter(item["reduced"]))
            losses._classes[item["kind"], item["name"], item["feature_hash"], item["shape"] or ""] = counted
        return losses

    def label(self, images: int, reason: str | None) -> None:
        """Count a label with its images, or the reason why it has none."""
        self.labels += 1
        self.images += images
        if reason is not None:
            self._labels[reason] += 1

    def written(self, annotation: Annotation, *reduced: str) -> None:
        """Count an annotation that was written, and its reductions."""
        counted = self._classes[_class(annotation)]
        counted.written += 1
        counted.reduced.update(reduced)

    def left_out(self, annotation: Annotation, reason: str) -> None:
        """Count an annotation that was not written."""
        self._classes[_class(annotation)].left_out[reason] += 1

    def as_document(self, name: str) -> dict[str, Any]:
        """Return the report of the format `name`."""
        classes = [
            {
                "kind": kind,
                "name": class_name,
                "feature_hash": feature,
                "shape": shape or None,
                "written": counted.written,
                "left_out": dict(sorted(counted.left_out.items())),
                "reduced": dict(sorted(counted.reduced.items())),
            }
            for (kind, class_name, feature, shape), counted in sorted(self._classes.items())
        ]
        used = {reason for counted in self._classes.values() for reason in (*counted.left_out, *counted.reduced)}
        return {
            "version": 1,
            "format": name,
            "labels": self.labels,
            "images": self.images,
            "labels_without_image": dict(sorted(self._labels.items())),
            "written": sum(counted.written for counted in self._classes.values()),
            "left_out": sum(sum(counted.left_out.values()) for counted in self._classes.values()),
            "classes": classes,
            "reasons": {reason: (LEFT_OUT | REDUCED)[reason] for reason in sorted(used | set(self._labels))},
        }


def _class(annotation: Annotation) -> tuple[str, str, str, str]:
    return annotation.kind, annotation.name or "", annotation.feature_hash, annotation.shape or ""
