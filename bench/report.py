"""What was measured, for people: ratios first, then rates, and a plot. No numbers are made here."""
import html
import statistics

TITLES = {"redis": "Redis", "sqlite": "SQLite, synchronous=FULL"}
ORDER = ("raw", "errand threads", "errand prefork", "celery prefork")
COLORS = {"raw": "#9aa5b1", "errand threads": "#7aa6d8", "errand prefork": "#2f6db5", "celery prefork": "#5e8c4a"}
TARGETS = {("redis", "raw"): 0.5, ("redis", "celery prefork"): 20.0, ("sqlite", "raw"): 0.4}


def medians(data):
    """(store, shape, who) -> (median, lowest, highest, rounds, tasks)"""
    found = {}
    for one in data["rates"]:
        found.setdefault((one["store"], one["shape"], one["who"]), []).append((one["rate"], one["tasks"]))
    return {key: (statistics.median(rate for rate, _ in all_), min(all_)[0], max(all_)[0], len(all_), all_[0][1])
            for key, all_ in found.items()}


def places(found):
    return sorted({(store, shape) for store, shape, _ in found})


def ratio_rows(found):
    for store, shape in places(found):
        for who in ("errand prefork", "errand threads"):
            if (store, shape, who) not in found:
                continue
            ours = found[store, shape, who][0]
            row = [store, shape, who]
            for other in ("raw", "celery prefork"):
                there = found.get((store, shape, other))
                row.append(None if there is None else ours / there[0])
            yield row


def number(value):
    return f"{value:,.0f}".replace(",", " ")


def as_text(data):
    found = medians(data)
    lines = ["", f"{'':7} {'':10} {'':16} {'of raw':>8} {'x Celery':>9}"]
    for store, shape, who, of_raw, of_celery in ratio_rows(found):
        celery = "-" if of_celery is None else f"{of_celery:.1f}"
        lines.append(f"{store:7} {shape:10} {who:16} {of_raw if of_raw is not None else 0:8.2f} {celery:>9}")
    for latency in latencies(data):
        lines.append(f"{latency[0]:7} idle: start p50 {latency[1]:.0f} us, p99 {latency[2]:.0f}; "
                     f"result p50 {latency[3]:.0f} us, p99 {latency[4]:.0f}")
    return "\n".join(lines)


def latencies(data):
    for store in sorted({one["store"] for one in data["latencies"]}):
        here = [one for one in data["latencies"] if one["store"] == store]
        yield [store] + [statistics.median(one[key] for one in here)
                         for key in ("start_p50_us", "start_p99_us", "result_p50_us", "result_p99_us")]


def endurance_lines(data):
    """What ./dev bench memory and parked have found, when they were run into the same file."""
    out = []
    if data.get("memory") or data.get("parked"):
        out += ["", "## What must not grow", ""]
    if data.get("memory"):
        out += ["Resident memory of the worker (supervisor), in MiB, at moments spread over the run (`./dev bench memory`).", "",
                "| store | tasks | from the first to the last | highest |", "| --- | --- | --- | --- |"]
        for one in data["memory"]:
            looks = " ".join(f"{look:.1f}" for look in one["mib"])
            out.append(f"| {TITLES[one['store']]} | {number(one['tasks'])} | {looks} | {one['highest_mib']:.1f} |")
    if data.get("parked"):
        out += ["", "Tasks that wait for tomorrow, and others that run beside them (`./dev bench parked`).", "",
                "| store | parked | tasks per second without them | beside them | ratio | idle worker beside them, MiB |",
                "| --- | --- | --- | --- | --- | --- |"]
        for one in data["parked"]:
            out.append(f"| {TITLES[one['store']]} | {number(one['parked'])} | {number(one['alone'])} | {number(one['beside'])} | "
                       f"{one['beside'] / one['alone']:.2f} | {one['idle_mib']:.1f} |")
    return out


def as_markdown(data):
    found = medians(data)
    box = data["machine"]
    rounds = max(one[3] for one in found.values())
    out = ["# Benchmarks", "",
           "Written by `./dev bench --write`; `bench/compare.py` says what is measured and how. Ratios are what carries",
           "from one machine to another: everybody ran in turn, in the same rounds, on the same two kinds of store.", "",
           "![Tasks per second](benchmarks.svg)", "",
           "## Ratios", "",
           "Errand with results stored, beside a raw client that performs the same broker operations and nothing else, and",
           f"beside the packaged Celery with as many processes ({data['concurrency']}). Medians over {rounds} round{'s' if rounds > 1 else ''}.", "",
           "| store | queue | pool | of the raw client | times Celery |", "| --- | --- | --- | --- | --- |"]
    for store, shape, who, of_raw, of_celery in ratio_rows(found):
        celery = "" if of_celery is None else f"{of_celery:.1f}"
        out.append(f"| {TITLES[store]} | {shape} | {who.split()[1]} | {of_raw:.2f} | {celery} |")
    wanted = [f"{TITLES[store]}: {value:g} {'of raw' if who == 'raw' else 'times Celery'}" for (store, who), value in TARGETS.items()]
    out += ["", "Wanted, prefork: " + "; ".join(wanted) + ".", "",
            "## Idle", "", "One task at a time, sent from another process to an idle worker (prefork). Microseconds.", "",
            "| store | send to start, p50 | p99 | send to result, p50 | p99 |", "| --- | --- | --- | --- | --- |"]
    for store, *values in latencies(data):
        out.append(f"| {TITLES[store]} | " + " | ".join(number(value) for value in values) + " |")
    out += endurance_lines(data)
    out += ["", "## Rates", "", "Tasks per second: median, and lowest to highest of the rounds.", "",
            "| store | queue | who | tasks | median | lowest | highest |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for store, shape in places(found):
        for who in ORDER:
            if (store, shape, who) not in found:
                continue
            median, low, high, _, tasks = found[store, shape, who]
            label = f"{who}, batches of {data['batch']}" if who == "raw" else who
            out.append(f"| {TITLES[store]} | {shape} | {label} | {number(tasks)} | {number(median)} | {number(low)} | {number(high)} |")
    celery, kombu = (box["celery"].split() + ["?", "?"])[:2]
    out += ["", "## Where and when", "",
            f"{data['date']}, commit {box['commit']}. {box['cpu']}, {box['cores']} cores for everybody: producer, worker, "
            "its processes, and the server.",
            f"{box['system']}, Linux {box['kernel']}, {box['compiler']}, Redis {data['versions'].get('redis', '-')}, "
            f"SQLite {data['versions'].get('sqlite', '-')}, Celery {celery} with kombu {kombu}.", "",
            "    ./dev bench --write", "",
            "For SQLite there is no Celery to compare with: the nearest is kombu's experimental SQLAlchemy transport, which",
            "looks for messages once a second.", ""]
    return "\n".join(out)


def as_svg(data):
    """Bars per store and shape, one color per contestant."""
    found = medians(data)
    left, bar, gap, width = 210, 18, 30, 760
    most = max(one[0] for one in found.values())
    y, parts = 50, []
    for store, shape in places(found):
        parts.append(f'<text x="{left}" y="{y}" class="h">{html.escape(TITLES[store])}, {shape}</text>')
        y += 10
        for who in ORDER:
            if (store, shape, who) not in found:
                continue
            median = found[store, shape, who][0]
            length = max(1.0, (width - left - 80) * median / most)
            parts.append(f'<text x="{left - 8}" y="{y + bar - 5}" text-anchor="end">{who}</text>'
                         f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar}" fill="{COLORS[who]}"/>'
                         f'<text x="{left + length + 6:.1f}" y="{y + bar - 5}">{number(median)}</text>')
            y += bar + 4
        y += gap
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}">'
            '<style>text{font:13px sans-serif;fill:#222}.h{font-weight:bold}</style>'
            f'<rect width="{width}" height="{y}" fill="#fff"/>'
            f'<text x="10" y="24" class="h">No-op tasks with results per second, concurrency {data["concurrency"]}</text>'
            + "\n".join(parts) + "</svg>\n")


def write(folder, data):
    (folder / "benchmarks.md").write_text(as_markdown(data), encoding="utf-8")
    (folder / "benchmarks.svg").write_text(as_svg(data), encoding="utf-8")
