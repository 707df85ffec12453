from .finish import export_run as export_run
from .recipe import Augment as Augment
from .recipe import Stage as Stage
from .recipe import TrainConfig as TrainConfig
from .recipe import load_recipe as load_recipe
from .recipe import recipe_names as recipe_names
from .temporal import TemporalConfig as TemporalConfig
from .temporal import train_temporal as train_temporal
