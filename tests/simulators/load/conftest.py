"""Coroutines are tests here as they are for the agent."""

from tests.edge_agent.conftest import pytest_pyfunc_call  # noqa: F401 - a hook of pytest
