from mien.models.spec import Preprocess
from mien.nets.blocks import fold
from mien.nets.cost import Cost, cost_of
from mien.nets.nets import build_net


def test_the_cost_of_a_net_can_be_counted_by_hand() -> None:
    """Two convolutions of stride 2 and a head; its batch norms have two parameters a channel."""
    parameters = 9 * 16 + 2 * 16 + 9 * 16 * 32 + 2 * 32 + (32 + 1) * 7
    macs = 9 * 16 * 24**2 + 9 * 16 * 32 * 12**2 + 32 * 7
    assert cost_of(build_net("tiny", Preprocess(size=48), {"fer2013": 7}), Preprocess(size=48)) == Cost(
        parameters, macs
    )


def test_the_cost_of_the_flagship_matches_its_docstring() -> None:
    cost = cost_of(build_net("base", Preprocess(), {"fer2013": 7}), Preprocess())
    assert (round(cost.parameters / 1e6, 1), round(cost.macs / 1e6)) == (5.3, 349)


def test_the_cost_of_the_small_net_once_folded_matches_its_docstring() -> None:
    net = build_net("mini", Preprocess(), {"fer2013": 7, "ferplus": 8})
    fold(net)
    cost = cost_of(net, Preprocess())
    assert cost.parameters < 1_000_000
    assert cost.macs < 10_000_000
