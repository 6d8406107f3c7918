"""What the cloud believes of a device: the life cycle that its words and its silence move."""

from contract.lifecycle import Machine

PRESENCE = Machine(
    "presence",
    "offline",
    {
        "offline": {"well": "online", "strained": "degraded"},
        "online": {"strained": "degraded", "gone": "offline"},
        "degraded": {"well": "online", "gone": "offline"},
    },
)
"""`strained` is: the link is up and data is late, or data flows and the link flaps."""
