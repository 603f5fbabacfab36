"""What `from slimfusion import ...` offers, by the rooms that it lives in. The names are listed in `__init__.py`."""

# ruff: noqa: F401

from .engines.host import StandaloneHost
from .engines.job import Options
from .engines.memory.budget import GIB, MemoryBudget
from .engines.memory.report import Report
from .errors import SlimFusionError
from .faces.crops.cut import Cropped, crop_faces
from .faces.crops.geometry import Cropping, Crops
from .faces.crops.paste import Pasted, Pasting, paste_faces
from .faces.detect.detection import detect_faces
from .faces.detect.settings import DetectionSettings
from .faces.identity.library import ModelLibrary
from .faces.identity.people import Person, person_from_picture
from .faces.pictures.files import Picture, read_picture, write_picture
from .faces.restore import Restored, Restoring, restore_faces, restore_image
from .faces.swap.networks import networks_for
from .faces.swap.swap import Swapped, swap_faces
from .faces.swap.task import Networks, Swapping
from .faces.together import restore_together
from .models.opening import Opening, open_model
