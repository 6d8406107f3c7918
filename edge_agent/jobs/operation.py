"""What an operation of a job looks like; the definitions are in `edge_agent.ports`.

Ways other than `jobs` take them from there, because ways do not import one another.
"""

from edge_agent.ports import Operation, Outcome

__all__ = ["Operation", "Outcome"]
