"""The Kiosk dashboard: one device, or a few beside each other, from paper to processor."""

from typing import Final

from dashboards import limits
from dashboards.panels import (
    Aggregation,
    Board,
    Drawing,
    Panel,
    Row,
    State,
    Threshold,
    around_zero,
    falling,
    rising,
)

DEVICE: Final = ("site", "device")
YES_OR_NO: Final = (Threshold(None, "green"), Threshold(limits.PAPER_EMPTY, "red"))
PAPER: Final = Panel(
    title="Paper",
    metric="printer_paper_empty",
    unit="none",
    aggregation=Aggregation.HIGHEST,
    drawing=Drawing.STATES,
    groups=DEVICE,
    states=(State(0, "has paper", "green"), State(1, "asks for paper", "red")),
    description="Whether the printer asks for paper. Bring paper of the kind the tray is set to; after two "
    "minutes the alert fires, and printing goes on by itself once the tray is full.",
    thresholds=YES_OR_NO,
)
NOW: Final = Row(
    "Now",
    (
        Panel(
            title="Last heard",
            measurement="link",
            metric="silent_s",
            unit="s",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.NUMBER,
            groups=DEVICE,
            description="Time since the cloud took something from the device. Minutes: ask the site whether "
            "it has power and network; the values beside this are then missing.",
            thresholds=rising((limits.ONLINE_S, limits.SILENT_S)),
        ),
        Panel(
            title="Toner",
            metric="printer_toner_pct",
            unit="percent",
            aggregation=Aggregation.LOWEST,
            drawing=Drawing.NUMBER,
            groups=DEVICE,
            description="Lowest marker level that the printer tells. Below 15 %: bring a cartridge with the "
            "next round; below 5 % at once.",
            thresholds=falling(limits.TONER_PCT),
        ),
        Panel(
            title="Messages waiting",
            metric="outbox_waiting",
            unit="short",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.NUMBER,
            groups=DEVICE,
            description="Messages kept until the cloud has stored them. Growing while the device is heard: "
            "its uplink is too slow, or the cloud does not acknowledge.",
            thresholds=rising(limits.OUTBOX_WAITING),
        ),
        Panel(
            title="Samples dropped",
            metric="outbox_dropped",
            unit="short",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.NUMBER,
            groups=DEVICE,
            description="Health samples given up since its agent started, because the outbox was full. "
            "Papers and captions are never dropped. Find the long outage.",
            thresholds=rising(limits.DROPPED),
        ),
        Panel(
            title="Uptime",
            metric="uptime_s",
            unit="s",
            aggregation=Aggregation.LOWEST,
            drawing=Drawing.NUMBER,
            groups=DEVICE,
            description="Time since the machine started. Short again and again: check power and temperature, "
            "then collect diagnostics.",
            thresholds=falling(limits.UPTIME_S),
        ),
    ),
)
PRINTER: Final = Row(
    "Printer",
    (
        Panel(
            title="Printer state",
            metric="printer_state",
            unit="none",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.STATES,
            groups=DEVICE,
            states=(State(3, "idle", "green"), State(4, "printing", "blue"), State(5, "stopped", "red")),
            description="What the printer says of itself (RFC 8011). Stopped: its display says why; the "
            "agent prints again once it is idle. A band that ends: the printer does not answer.",
            thresholds=(Threshold(None, "green"), Threshold(4, "blue"), Threshold(5, "red")),
        ),
        PAPER,
        Panel(
            title="Jam",
            metric="printer_jammed",
            unit="none",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.STATES,
            groups=DEVICE,
            states=(State(0, "free", "green"), State(1, "jammed", "red")),
            description="Whether the printer reports a jam. Send a technician; then look on the documents "
            "page for a paper that is in doubt at this kiosk.",
            thresholds=YES_OR_NO,
        ),
        Panel(
            title="Ready to print",
            metric="printer_ready",
            unit="none",
            aggregation=Aggregation.LOWEST,
            drawing=Drawing.STATES,
            groups=DEVICE,
            states=(State(0, "not ready", "red"), State(1, "ready", "green")),
            description="Whether the printer answers and nothing stops it; the kiosk offers documents only "
            "then. Not ready without paper or jam: switch it off and on, check its cable.",
            thresholds=(Threshold(None, "red"), Threshold(1, "green")),
        ),
    ),
)
MACHINE: Final = Row(
    "Machine",
    (
        Panel(
            title="Temperature",
            metric="temperature_c",
            unit="celsius",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=DEVICE,
            description="Hottest processor sensor. Above 70 °C: clean the fan filter, check sun and heating "
            "at the site; at 85 °C common boards slow down.",
            thresholds=rising(limits.TEMPERATURE_C),
        ),
        Panel(
            title="Disk",
            metric="disk_pct",
            unit="percent",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=DEVICE,
            description="Space used where the agent keeps its data. Above 80 %: collect diagnostics and see "
            "what grows; a full disk stops new documents.",
            thresholds=rising(limits.DISK_PCT),
        ),
        Panel(
            title="Processor",
            metric="cpu_pct",
            unit="percent",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=DEVICE,
            description="Processor time in use. A kiosk that stays above 80 %: collect diagnostics, then "
            "restart its agent. A recorder works hard during a sitting.",
            thresholds=rising(limits.CPU_PCT),
        ),
        Panel(
            title="Memory",
            metric="memory_pct",
            unit="percent",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=DEVICE,
            description="Memory in use. A line that climbs for days is a leak: collect diagnostics before "
            "you restart the agent.",
            thresholds=rising(limits.MEMORY_PCT),
        ),
    ),
)
LINK: Final = Row(
    "Link and clock",
    (
        Panel(
            title="Silence",
            measurement="link",
            metric="silent_s",
            unit="s",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=DEVICE,
            description="Time since the cloud took something from the device. A saw between 0 and 10 s is "
            "normal; a line that climbs is an outage, and falls when the device is back.",
            thresholds=rising((limits.ONLINE_S, limits.SILENT_S)),
        ),
        Panel(
            title="Outbox",
            metric="outbox_waiting",
            unit="short",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=DEVICE,
            description="Messages kept over time. After an outage it falls quickly; if it does not, the "
            "uplink is slow: look for what else uses it.",
            thresholds=rising(limits.OUTBOX_WAITING),
        ),
        Panel(
            title="Clock skew",
            measurement="link",
            metric="skew_ms",
            unit="ms",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=DEVICE,
            description="Device clock minus server clock. Beyond a second: check that the device reaches its "
            "time server; at a minute certificates begin to suffer.",
            thresholds=around_zero(limits.SKEW_MS),
        ),
        Panel(
            title="Room that waiting messages take",
            metric="outbox_bytes",
            unit="bytes",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=DEVICE,
            description="Disk that the outbox takes on the device. Near outbox.bytes_max it drops samples, "
            "then refuses new work: find out why nothing is acknowledged.",
            thresholds=rising(limits.OUTBOX_BYTES),
        ),
        Panel(
            title="Messages refused by the device",
            metric="outbox_refused",
            unit="short",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.NUMBER,
            groups=DEVICE,
            description="Messages that must arrive and that its full outbox did not take since the agent "
            "started: it offers no new work meanwhile. Free its disk or its uplink.",
            thresholds=rising(limits.DROPPED),
        ),
        Panel(
            title="Connections taken over",
            metric="link_taken_over",
            unit="short",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.NUMBER,
            groups=DEVICE,
            description="How often another client with this device's id took its connection since the agent "
            "started. Growing: two machines use one certificate; see the ledger.",
            thresholds=rising(limits.TAKEN_OVER),
        ),
        Panel(
            title="Certificate ends in",
            metric="certificate_days_left",
            unit="d",
            aggregation=Aggregation.LOWEST,
            drawing=Drawing.NUMBER,
            groups=DEVICE,
            description="Days until the device's certificate ends; it renews at two thirds of its life. "
            "Below a third of it: see why renewing fails, and enrol the device anew before it ends.",
            thresholds=falling(limits.CERTIFICATE_DAYS),
        ),
        Panel(
            title="Failed renewals",
            metric="certificate_failures",
            unit="short",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.NUMBER,
            groups=DEVICE,
            description="Tries to renew the certificate that failed, one after the other. The device's log "
            "says why; collect diagnostics, then look at the control plane's enrolment page.",
            thresholds=rising(limits.CERTIFICATE_FAILURES),
        ),
    ),
    folded=True,
)
RECORDER: Final = Row(
    "Recorder",
    (
        Panel(
            title="Microphone",
            metric="microphone_level_dbfs",
            unit="dB",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=DEVICE,
            description="Loudness of the last second, below full scale. During a sitting below -60: the "
            "microphone is muted or unplugged. Near 0: turn the gain down, captions suffer.",
            thresholds=(
                Threshold(None, "red"),
                Threshold(-60, "orange"),
                Threshold(-45, "green"),
                Threshold(-3, "red"),
            ),
        ),
        Panel(
            title="Recordings that wait",
            metric="recordings_waiting_bytes",
            unit="bytes",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=DEVICE,
            description="Recorded sound that is only on the recorder. Half a gigabyte is an hour and a half: "
            "look whether the control plane is reached, and at upload_refused in the recorder's log.",
            thresholds=rising(limits.RECORDINGS_WAITING_BYTES),
        ),
        Panel(
            title="Recorder full",
            metric="recordings_full",
            unit="none",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.STATES,
            groups=DEVICE,
            states=(State(0, "has room", "green"), State(1, "full", "red")),
            description="Full: it records nothing because its disk is full. Let what waits be uploaded, or "
            "free some space; it goes on by itself.",
            thresholds=YES_OR_NO,
        ),
    ),
    folded=True,
)
KIOSK: Final = Board("kiosk", "Kiosk", (NOW, PRINTER, MACHINE, LINK, RECORDER))
