import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import SequentialSampler

from devias.data.samplers import EvalSampler, FixedSampler, TrainSampler

SIZES = {"length": st.integers(1, 60), "world_size": st.integers(1, 7)}


@given(**SIZES)
def test_evaluation_shares_every_video_out_exactly_once(length, world_size):
    shares = [EvalSampler(length, rank, world_size) for rank in range(world_size)]
    seen = [draw.index for share in shares for draw in share]
    assert sorted(seen) == list(range(length))
    assert [len(list(share)) for share in shares] == [len(share) for share in shares]


@given(**SIZES, seed=st.integers(0, 2**31), epoch=st.integers(0, 1000))
def test_training_ranks_draw_equally_many_distinct_videos(length, world_size, seed, epoch):
    if length < world_size:
        with pytest.raises(ValueError, match="cannot be shared by"):
            TrainSampler(length, seed, 0, world_size)
        return
    shares = []
    for rank in range(world_size):
        sampler = TrainSampler(length, seed, rank, world_size)
        sampler.set_epoch(epoch)
        shares.append(list(sampler))
        assert len(shares[-1]) == len(sampler) == length // world_size
    indices = [draw.index for share in shares for draw in share]
    assert len(set(indices)) == len(indices) == length - length % world_size


def test_order_and_sample_seeds_follow_from_seed_and_epoch():
    def draws(seed, epoch):
        sampler = TrainSampler(50, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert draws(3, 4) == draws(3, 4)
    assert draws(3, 4) != draws(3, 5)
    assert draws(3, 4) != draws(4, 4)
    # The same video gets another seed in another epoch.
    assert not {draw.seed for draw in draws(3, 4)} & {draw.seed for draw in draws(3, 5)}


def test_a_video_has_the_same_seed_on_whichever_rank_it_falls():
    alone = TrainSampler(20, seed=1)
    pair = [TrainSampler(20, seed=1, rank=rank, world_size=2) for rank in (0, 1)]
    assert sorted(alone) == sorted([*pair[0], *pair[1]])


@given(
    **SIZES,
    seed=st.integers(0, 99),
    epoch=st.integers(0, 9),
    batch=st.integers(1, 5),
    data=st.data(),
)
def test_a_resumed_epoch_draws_what_was_not_drawn_yet(length, world_size, seed, epoch, batch, data):
    if length < world_size:
        return
    drawn = batch * data.draw(st.integers(0, length // world_size // batch))
    for rank in range(world_size):
        whole, resumed = (TrainSampler(length, seed, rank, world_size) for _ in range(2))
        whole.set_epoch(epoch)
        resumed.resume(epoch, drawn)
        assert list(resumed) == list(whole)[drawn:]
        assert len(resumed) == len(whole)  # by which Lightning knows where the epoch ends
        for sampler in (whole, resumed):
            sampler.set_epoch(epoch + 1)
        assert list(resumed) == list(whole)


def test_a_fixed_sampler_gives_the_same_samples_every_epoch_and_stays_in_its_place():
    keys = list(TrainSampler(7, seed=3, rank=1, world_size=2))
    fixed = FixedSampler(keys)
    assert isinstance(fixed, SequentialSampler)  # any other is replaced by Lightning
    assert (list(fixed), list(fixed), len(fixed)) == (keys, keys, 3)
