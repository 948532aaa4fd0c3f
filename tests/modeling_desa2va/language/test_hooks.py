"""Hooks that are put on once and stay."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import torch

from desa2va.modeling_desa2va.language.generation import record_last_states
from desa2va.modeling_desa2va.language.hooks import hook_once


def doubled(module, args):
    return args[0] * 2


def test_a_hook_is_put_on_once_by_any_number_of_threads_and_copies():
    """Twice on one module it would act twice; a copy of a model brings its hooks along."""
    module = torch.nn.Identity()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: hook_once(module, doubled, "forward_pre"), range(16)))
    for same in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        hook_once(same, doubled, "forward_pre")
        assert same(torch.tensor(1.0)) == 2.0


def test_states_are_recorded_inside_alone():
    head = torch.nn.Linear(2, 3)
    states = torch.arange(8.0).reshape(1, 4, 2)
    with record_last_states(head) as recorder:
        torch.nn.Linear(2, 3)(states)
        assert recorder.newest is None
        head(states)
    head(torch.zeros(1, 1, 2))
    assert recorder.newest.tolist() == [[6.0, 7.0]]


def test_a_compiled_head_is_heard_too():
    """Compilers trace hooks: one that they skip would leave the states of the call before."""
    head = torch.nn.Linear(2, 3)
    with record_last_states(head):
        pass
    compiled = torch.compile(head, backend="eager")
    for value in (1.0, 2.0):
        with record_last_states(head) as recorder:
            compiled(torch.full((1, 1, 2), value))
        assert recorder.newest.tolist() == [[value, value]]
