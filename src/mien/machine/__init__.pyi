from .bench import BenchResult as BenchResult
from .bench import bench as bench
from .doctor import doctor as doctor
from .facts import machine_facts as machine_facts
