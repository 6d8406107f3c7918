"""The words of the start page that stand for codes."""

from cloud.web.languages import N_
from simulators.start_page.desk import Action

STATES = {"up": N_("running"), "down": N_("down"), "broken": N_("out of order")}
LAMPS = {
    "control-plane": N_("Control plane"),
    "ingest": N_("Measurements"),
    "broker": N_("Message broker"),
    "registry": N_("Cadastre"),
    "payments": N_("Payments"),
}
"""Devices go by their own names."""
PLUGS = (
    (Action.KILL_CONTROL_PLANE, N_("Kill the control plane"), N_("It falls at once and is started again.")),
    (Action.STOP_BROKER, N_("Stop the broker for 10 seconds"), N_("Devices keep what they have to say.")),
    (Action.REGISTRY_DOWN, N_("Cadastre out of service"), N_("Kiosks say so and issue nothing.")),
    (Action.REGISTRY_UP, N_("Cadastre back in service"), ""),
)
DONE = {
    Action.PRESENT_DOCUMENT: N_("The identity card lies on the reader. Look at the kiosk."),
    Action.PAY: N_("The payment card was accepted. Look at the kiosk."),
    Action.DECLINE: N_("The payment card was declined. Look at the kiosk."),
    Action.PAPER_OUT: N_("The printer has no paper any more."),
    Action.PAPER_IN: N_("The printer has paper again."),
    Action.UNPLUG_MICROPHONE: N_("The microphone is unplugged."),
    Action.PLUG_MICROPHONE: N_("The microphone is plugged in again."),
    Action.REGISTRY_DOWN: N_("The cadastre does not answer any more."),
    Action.REGISTRY_UP: N_("The cadastre answers again."),
    Action.KILL_CONTROL_PLANE: N_("The control plane was killed. Nothing may be lost by it."),
    Action.STOP_BROKER: N_("The broker is stopped. In ten seconds it comes back."),
}
