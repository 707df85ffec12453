from .keras import Conversion as Conversion
from .keras import Findings as Findings
from .keras import convert as convert
from .keras import examine as examine
