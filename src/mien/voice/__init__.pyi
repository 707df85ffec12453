from .listener import VoiceModel as VoiceModel
from .segments import Segment as Segment
from .segments import Segmenter as Segmenter
from .speech import SileroDetector as SileroDetector
from .speech import SpeechDetector as SpeechDetector
