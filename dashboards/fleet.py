"""The Fleet dashboard: is it healthy, and if not, where?"""

from typing import Final

from dashboards import limits
from dashboards.panels import Aggregation, Board, Drawing, Panel, Row, Threshold, around_zero, falling, rising

SILENCE: Final = Panel(
    title="Longest silence",
    measurement="link",
    metric="silent_s",
    unit="s",
    aggregation=Aggregation.HIGHEST,
    drawing=Drawing.LINES,
    groups=("site",),
    description="Lag: time since the cloud took something from the device that is silent longest, for each "
    "site. All of a site at once: power or uplink; one: that device.",
    thresholds=rising((limits.ONLINE_S, limits.SILENT_S)),
)
SHARED: Final = Panel(
    title="One identity, two machines",
    measurement="ledger",
    metric="shared",
    unit="none",
    aggregation=Aggregation.HIGHEST,
    drawing=Drawing.TABLE,
    groups=("site", "device"),
    description="1 where two machines take the connection from each other with one certificate. Find the "
    "copy, revoke the device's certificates and enrol the right machine anew.",
    thresholds=rising(limits.SHARED),
)
INCIDENTS: Final = Panel(
    title="Incidents going on",
    measurement="incident",
    metric="open",
    unit="none",
    aggregation=Aggregation.HIGHEST,
    drawing=Drawing.LINES,
    groups=("site",),
    description="Incidents of each site that are not over: devices that went off together are one, those "
    "off as expected are none. The page Incidents of the control plane names the devices.",
    thresholds=rising(limits.INCIDENTS),
)
HEALTHY: Final = Row(
    "Is the fleet healthy?",
    (
        Panel(
            title="Devices online",
            measurement="link",
            metric="silent_s",
            unit="none",
            aggregation=Aggregation.BELOW,
            drawing=Drawing.NUMBER,
            limit=limits.ONLINE_S,
            description="Registered devices that the cloud heard in the last 2 minutes. Fewer than you have: "
            "look at Devices silent, and at the table for which they are.",
            thresholds=(Threshold(None, "red"), Threshold(1, "green")),
        ),
        Panel(
            title="Devices silent",
            measurement="link",
            metric="silent_s",
            unit="none",
            aggregation=Aggregation.FROM,
            drawing=Drawing.NUMBER,
            limit=limits.SILENT_S,
            description="Enrolled devices that were not heard for 5 minutes. See in the table whether they "
            "share a site (one dead uplink); one alone: ask the site whether it has power.",
            thresholds=rising(limits.PAPER_KIOSKS),
        ),
        Panel(
            title="Kiosks without paper",
            metric="printer_paper_empty",
            unit="none",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Kiosks whose printer asks for paper. Send somebody with paper of the kind the tray "
            "is set to; printing goes on by itself.",
            thresholds=rising(limits.PAPER_KIOSKS),
        ),
        Panel(
            title="Printers not ready",
            metric="printer_ready",
            unit="none",
            aggregation=Aggregation.ZEROS,
            drawing=Drawing.NUMBER,
            description="Kiosks whose printer does not answer or is stopped; they offer no documents. Look "
            "at paper first, else switch the printer off and on and check its cable.",
            thresholds=rising(limits.PAPER_KIOSKS),
        ),
        Panel(
            title="Messages waiting",
            metric="outbox_waiting",
            unit="short",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Messages that devices keep until the cloud has stored them. Growing: the broker or "
            "the ingest process does not keep up or is down; nothing is lost while devices have room.",
            thresholds=rising(limits.OUTBOX_WAITING_FLEET),
        ),
        Panel(
            title="Dropped by policy",
            measurement="ledger",
            metric="dropped",
            unit="short",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Messages that full devices gave up since the beginning; what must arrive is never "
            "dropped. Growing: find the long outage; raise outbox.rows_max if it can recur.",
            thresholds=rising(limits.DROPPED_EVER),
        ),
        Panel(
            title="Lost",
            measurement="ledger",
            metric="lost",
            unit="short",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Messages since the beginning that never came although no device dropped them. "
            "Always 0; else open Ledger in the control plane and collect diagnostics of the device.",
            thresholds=rising(limits.LOST),
        ),
    ),
)
WHERE: Final = Row(
    "Where? The worst device of each site",
    (
        INCIDENTS,
        Panel(
            title="Disk",
            metric="disk_pct",
            unit="percent",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=("site",),
            description="Space used where the agent keeps its data. Above 80 %: see what grows; a full disk "
            "stops new documents before it loses kept messages.",
            thresholds=rising(limits.DISK_PCT),
        ),
        Panel(
            title="Temperature",
            metric="temperature_c",
            unit="celsius",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=("site",),
            description="Hottest processor sensor. Above 70 °C: clean the fan filter, check sun and heating "
            "at the site; at 85 °C common boards slow down.",
            thresholds=rising(limits.TEMPERATURE_C),
        ),
        Panel(
            title="Outbox",
            metric="outbox_waiting",
            unit="short",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=("site",),
            description="Messages that the fullest device of each site keeps. One site alone: its uplink is "
            "slow or down. All sites: look at the ingest, below.",
            thresholds=rising(limits.OUTBOX_WAITING),
        ),
        SHARED,
        Panel(
            title="Devices, longest silent first",
            measurement="link",
            metric="silent_s",
            unit="s",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.TABLE,
            groups=("site", "kind", "device"),
            description="Every enrolled device and how long it is silent. Click one to see its printer, "
            "paper and machine on the Kiosk dashboard, at the same time.",
            thresholds=rising((limits.ONLINE_S, limits.SILENT_S)),
        ),
    ),
)
MACHINES: Final = Row(
    "Machines and hardware: the worst device of each site",
    (
        SILENCE,
        Panel(
            title="Processor",
            metric="cpu_pct",
            unit="percent",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=("site",),
            description="Processor time in use. Recorders work hard while a hall is in session. A kiosk that "
            "stays above 80 %: collect diagnostics, then restart its agent.",
            thresholds=rising(limits.CPU_PCT),
        ),
        Panel(
            title="Memory",
            metric="memory_pct",
            unit="percent",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=("site",),
            description="Memory in use. A line that climbs for days is a leak: collect diagnostics before "
            "you restart the agent.",
            thresholds=rising(limits.MEMORY_PCT),
        ),
        Panel(
            title="Shortest uptime",
            metric="uptime_s",
            unit="s",
            aggregation=Aggregation.LOWEST,
            drawing=Drawing.LINES,
            groups=("site",),
            description="Time since the most recent start at the site. A line that falls back again and "
            "again is a device that restarts: check power and temperature.",
            thresholds=falling(limits.UPTIME_S),
        ),
        Panel(
            title="Lowest toner",
            metric="printer_toner_pct",
            unit="percent",
            aggregation=Aggregation.LOWEST,
            drawing=Drawing.LINES,
            groups=("site",),
            description="Lowest marker level of each site. Below 15 %: bring a cartridge with the next "
            "round; below 5 % at once.",
            thresholds=falling(limits.TONER_PCT),
        ),
        Panel(
            title="Printers jammed",
            metric="printer_jammed",
            unit="none",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Kiosks whose printer reports a jam. Send a technician; then look on the documents "
            "page for a paper that is in doubt at that kiosk.",
            thresholds=rising(limits.PAPER_KIOSKS),
        ),
    ),
    folded=True,
)
INGEST: Final = Row(
    "The ingest itself",
    (
        Panel(
            title="Lag of samples",
            measurement="ingest",
            metric="lag_ms",
            unit="ms",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=("device",),
            description="From measurement to storage, the worst of each 10 s, without what waited through an "
            "outage. Seconds: the store or the machine is slow; see its disk and processor.",
            thresholds=rising(limits.LAG_MS),
        ),
        Panel(
            title="Samples stored",
            measurement="ingest",
            metric="samples",
            unit="cps",
            aggregation=Aggregation.RATE,
            drawing=Drawing.LINES,
            groups=("device",),
            description="Samples stored in a second, by each ingest process. A tenth of the number of "
            "devices is normal; zero while devices are online: restart the ingest and read its log.",
            thresholds=(Threshold(None, "red"), Threshold(0.05, "green")),
        ),
        Panel(
            title="Messages refused",
            measurement="ingest",
            metric="refused",
            unit="short",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Messages refused since the ingest started: malformed, too large or of a device that "
            "is not registered. The status page says which device and why.",
            thresholds=rising(limits.REFUSED),
        ),
        Panel(
            title="Given up by this ingest",
            measurement="ingest",
            metric="lost",
            unit="short",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Messages of the telemetry lane given up since the ingest started; they are in "
            "'Lost', too. If it grows, the control plane's ledger names the device.",
            thresholds=rising(limits.LOST),
        ),
    ),
    folded=True,
)
LEDGER: Final = Row(
    "Ledger of the link: what became of every message, since the beginning",
    (
        Panel(
            title="Stored",
            measurement="ledger",
            metric="stored",
            unit="short",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Messages that are stored, of all boots and lanes. It only grows; when it stands "
            "still while devices are online, look at the ingest and at the control plane.",
            thresholds=(Threshold(None, "red"), Threshold(1, "green")),
        ),
        Panel(
            title="Missing now",
            measurement="ledger",
            metric="missing",
            unit="short",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Messages that have not come although later ones have. Devices send them again; if "
            "it stays above zero, the control plane's ledger says which device and which numbers.",
            thresholds=rising(limits.MISSING),
        ),
        Panel(
            title="Dropped, not declared",
            measurement="ledger",
            metric="undeclared",
            unit="short",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Dropped messages for which no device has given a reason. Agents of earlier releases "
            "give none; else collect diagnostics of the device that the ledger names.",
            thresholds=rising(limits.MISSING),
        ),
        Panel(
            title="Refused",
            measurement="ledger",
            metric="refused",
            unit="short",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Messages and uploads of registered devices that were refused since the beginning. "
            "The device's page says why; garbage of one device harms no other.",
            thresholds=rising(limits.REFUSED),
        ),
        Panel(
            title="Came again",
            measurement="ledger",
            metric="repeated",
            unit="short",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Messages that were sent again although they were stored; each is stored once. "
            "Growing quickly: acknowledgements come late, look at the ingest and at the broker.",
            thresholds=rising(limits.REPEATED),
        ),
        Panel(
            title="Signs of a second machine",
            measurement="ledger",
            metric="returns",
            unit="short",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="How often a start of an agent came back that another had replaced, since the "
            "beginning. Growing: see which device in 'One identity, two machines'.",
            thresholds=rising(limits.RETURNS),
        ),
        Panel(
            title="Clock skew",
            measurement="link",
            metric="skew_ms",
            unit="ms",
            aggregation=Aggregation.EXTREMES,
            drawing=Drawing.LINES,
            groups=("site",),
            description="Device clock minus server clock, highest and lowest of each site. Beyond a second: "
            "check that the device reaches its time server; at a minute certificates begin to suffer.",
            thresholds=around_zero(limits.SKEW_MS),
        ),
        Panel(
            title="Clock skew, as the cloud reckons it",
            measurement="ledger",
            metric="skew_estimate_ms",
            unit="ms",
            aggregation=Aggregation.EXTREMES,
            drawing=Drawing.LINES,
            groups=("site",),
            description="Device clock minus server clock at least, from how early messages come; highest and "
            "lowest of each site. It needs no answer of the device; compare it with 'Clock skew'.",
            thresholds=around_zero(limits.SKEW_MS),
        ),
    ),
    folded=True,
)
DEAFNESS: Final = Panel(
    title="Telemetry not listened to",
    measurement="incident",
    metric="deaf_s",
    unit="s",
    aggregation=Aggregation.HIGHEST,
    drawing=Drawing.LINES,
    groups=("site",),
    description="For how long no ingest has listened. Meanwhile silence is held against no device, and "
    "nothing is lost while devices have room. Restart fleet-ingest and read its log.",
    thresholds=rising(limits.DEAF_S),
)
DROPS: Final = Panel(
    title="Dropped by the broker, last 5 minutes",
    measurement="broker",
    metric="drops_5min",
    unit="none",
    aggregation=Aggregation.HIGHEST,
    drawing=Drawing.LINES,
    groups=("device",),
    description="Messages for a client whose queue was full; their senders were told that they are taken. "
    "Look whether ingest and control plane run; if they do, raise broker.queued_max.",
    thresholds=rising(limits.BROKER_DROPS),
)
CONNECTIONS: Final = Panel(
    title="Connections, of those allowed",
    measurement="broker",
    metric="full_pct",
    unit="percent",
    aggregation=Aggregation.HIGHEST,
    drawing=Drawing.LINES,
    groups=("device",),
    description="Beyond 100 % no device gets in. From 80 %: raise broker.connections_max, write the broker's "
    "configuration anew and restart it; look whether a device connects again and again.",
    thresholds=rising(limits.BROKER_FULL_PCT),
)


def _of_broker(
    title: str,
    metric: str,
    unit: str,
    limit: tuple[float, float],
    description: str,
    aggregation: Aggregation = Aggregation.HIGHEST,
) -> Panel:
    return Panel(
        title=title,
        measurement="broker",
        metric=metric,
        unit=unit,
        aggregation=aggregation,
        drawing=Drawing.LINES,
        groups=("device",),
        description=description,
        thresholds=rising(limit),
    )


BROKER: Final = Row(
    "Devices away, and the broker itself",
    (
        DEAFNESS,
        DROPS,
        CONNECTIONS,
        Panel(
            title="Devices away in incidents",
            measurement="incident",
            metric="away",
            unit="none",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.LINES,
            groups=("site",),
            description="Devices of each site that are off and should not be. Several at once: the site's "
            "uplink or power; one alone: that device.",
            thresholds=rising(limits.AWAY),
        ),
        _of_broker(
            "Connections",
            "connections",
            "short",
            limits.BROKER_CONNECTIONS,
            "Clients that are connected now: devices, control plane and ingest. A sudden fall of all is the "
            "broker's own restart or network.",
        ),
        _of_broker(
            "Sessions kept",
            "sessions",
            "short",
            limits.BROKER_SESSIONS,
            "Sessions with those of clients that are away. Growing without end: clients with names of their "
            "own that never come back; they are forgotten after 14 days.",
        ),
        _of_broker(
            "Messages held",
            "stored_messages",
            "short",
            limits.BROKER_MESSAGES,
            "Retained messages and those that wait. Growing: somebody who should take them does not; look "
            "at ingest and control plane before queues are full.",
        ),
        _of_broker(
            "Bytes held",
            "stored_bytes",
            "bytes",
            limits.BROKER_BYTES,
            "Their bytes, in the broker's memory, which is bounded to 1 GiB. Beyond it the broker refuses: "
            "find who does not take its messages.",
        ),
        _of_broker(
            "Dropped since the broker's start",
            "dropped",
            "short",
            limits.BROKER_DROPPED,
            "All that it dropped for full queues. Devices send again what counts; live captions and "
            "telemetry beyond its bounds are gone.",
        ),
        _of_broker(
            "Messages in",
            "received",
            "cps",
            limits.BROKER_RATE,
            "Messages that the broker takes in a second. Near 10,000 one ingest has enough to do: look at "
            "the lag of samples.",
            Aggregation.RATE,
        ),
        _of_broker(
            "Messages out",
            "sent",
            "cps",
            limits.BROKER_RATE,
            "Messages that it gives out in a second. Much less than comes in: a consumer is away, and its "
            "queue fills.",
            Aggregation.RATE,
        ),
    ),
    folded=True,
)


def _of_authority(title: str, metric: str, limit: tuple[float, float], description: str) -> Panel:
    return Panel(
        title=title,
        measurement="authority",
        metric=metric,
        unit="d",
        aggregation=Aggregation.LOWEST,
        drawing=Drawing.NUMBER,
        groups=("site",),
        description=description,
        thresholds=falling(limit),
    )


ISSUER: Final = _of_authority(
    "Issuing authority",
    "issuer_days_left",
    limits.ISSUER_DAYS,
    "Until the authority that signs all certificates ends; then every device is locked out. From 800 days: "
    "bring the root's key, and run `python -m cloud init` or `new-issuer`.",
)
ROOT: Final = _of_authority(
    "Root",
    "root_days_left",
    limits.ROOT_DAYS,
    "Until the root ends, which every device trusts. It cannot be replaced from here: begin a new data "
    "folder, and enrol every device anew before that day.",
)
SERVERS: Final = _of_authority(
    "Servers, services and seal",
    "servers_days_left",
    limits.SERVERS_DAYS,
    "Until the first of the platform's own certificates ends. Below 30 days: run `python -m cloud init`, and "
    "restart broker, control plane and ingest.",
)
REVOCATIONS: Final = _of_authority(
    "List of the revoked",
    "revocations_days_left",
    limits.REVOCATIONS_DAYS,
    "Until the list of revoked certificates is too old and the broker takes no device. It is signed anew "
    "with 15 days left; less than that: fleet-control cannot, read its log.",
)
AUTHORITIES: Final = Row(
    "What the fleet's trust hangs on: days left",
    (
        ISSUER,
        ROOT,
        SERVERS,
        REVOCATIONS,
        Panel(
            title="Devices of a former authority",
            measurement="authority",
            metric="former_devices",
            unit="none",
            aggregation=Aggregation.SUM,
            drawing=Drawing.NUMBER,
            description="Devices in service whose certificate is of an authority before the present one; "
            "each changes when it renews. At 0 run `python -m cloud distrust-issuers`.",
            thresholds=rising(limits.FORMER_DEVICES),
        ),
    ),
    folded=True,
)
FLEET: Final = Board(
    "fleet",
    "Fleet",
    (HEALTHY, WHERE, LEDGER, MACHINES, INGEST, BROKER, AUTHORITIES),
    drill_down="kiosk",
)
