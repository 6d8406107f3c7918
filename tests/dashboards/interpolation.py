"""What Grafana fills into queries before it sends them."""

from dashboards.panels import FILTERS


def interpolated(query: str, *, peak_s: int = 60, **chosen: str) -> str:
    """The variables as chosen, All being `.*`, and the interval of a peak (s)."""
    for name in FILTERS:
        value = chosen.get(name, ".*")
        query = query.replace(f"${{{name}:regex}}", value).replace(f'"${name}"', f'"{value}"')
    return query.replace("$__rate_interval", f"{peak_s}s")


def over_time(query: str, since_s: int, until_s: int, step_s: int) -> str:
    """InfluxQL's bounds of a query over time, and the length of a step (s)."""
    query = query.replace("$timeFilter", f"time >= {since_s}s AND time < {until_s}s")
    return query.replace("$__interval", f"{step_s}s")


def at_moment(query: str, at_s: int) -> str:
    """Grafana leaves now() to the server; here the moment is that of the data."""
    return query.replace("time > now() - 2m", f"time > {at_s}s - 2m AND time <= {at_s}s")
