from . import notebook as notebook
from .collection import Failure as Failure
from .collection import Seen as Seen
from .collection import see as see
from .drawing.faces import draw as draw
from .errors import MienError as MienError
from .images import to_rgb as to_rgb
from .labels import FER2013 as FER2013
from .labels import FERPLUS as FERPLUS
from .labels import LabelSet as LabelSet
from .live import Live as Live
from .pixels import write_picture as write_picture
from .recognizer import Recognizer as Recognizer
from .sinks.records import to_dataframe as to_dataframe
from .sources.camera import Camera as Camera
from .sources.frames import frames as frames
from .sources.pictures import read_picture as read_picture
from .structures import Box as Box
from .structures import Expression as Expression
from .structures import Face as Face
from .structures import Frame as Frame
from .structures import Prediction as Prediction

__version__: str
