"""Data sets as uint8 arrays: published ones by name, and your own from folders, arrays and tables."""

from .arrays import from_arrays, from_torch
from .features import Features
from .images import read_image, read_images
from .parts import SPLIT_SEED, VALIDATION_SHARE, Dataset, Images, Labels, Split
from .published import DATASETS, read_cifar, read_idx
from .reading import Reading
from .sources import is_path, load, name_of

__all__ = [
    "DATASETS", "SPLIT_SEED", "VALIDATION_SHARE", "Dataset", "Features", "Images", "Labels", "Reading", "Split",
    "from_arrays", "from_torch", "is_path", "load", "name_of", "read_cifar", "read_idx", "read_image",
    "read_images",
]
