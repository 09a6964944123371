"""The packaged Celery is the oracle of our crontabs: the numbers of every field, and when an entry is due next.

Generated crontabs come from a fixed seed and from a fresh one, which is printed; ERRAND_SEED=N repeats it. On the days
when clocks change Celery has another rule for entries of every hour; test_celery_runs_... holds what docs/schedules.md says
about it.
"""
import datetime
import json
import os
import random
import subprocess
import zoneinfo

import pytest

from conftest import program

celery = pytest.importorskip("celery")
schedules = pytest.importorskip("celery.schedules")

FIELDS = ["minute", "hour", "day_of_month", "month_of_year", "day_of_week"]
RANGES = {"minute": (0, 59), "hour": (0, 23), "day_of_month": (1, 31), "month_of_year": (1, 12), "day_of_week": (0, 6)}
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
UTC = datetime.timezone.utc
FIXED_SEED = 20261122
GENERATED = 200
# The entries of two applications, and what people write most.
WRITTEN = ["0,15,30,45 * * * *", "* * * * *", "*/10 * * * *", "0 7 * * mon-fri", "0 9,15 * * mon-fri", "50 17 * * *", "5 0 * * *",
           "0 2 * * *", "*/15 * * * *", "30 1 * * *", "0 0 1 * *", "0 0 1 1 *", "0 0 29 2 *", "0 4 31 * *", "30 22-3/2 * * sat-mon",
           "59 23 31 12 *", "0 12 13 * fri", "50-10 */5,7 * * *", "0 0 * * sunday", "1-59/2 8-18 1-7 */3 mon"]


def crontab(fields, zone="UTC", now=None):
    app = celery.Celery("oracle", set_as_current=False)
    app.conf.timezone, app.conf.enable_utc = zone, True
    return schedules.crontab(**dict(zip(FIELDS, fields)), app=app, nowfun=now)


def native(questions):
    lines = "".join(json.dumps({"zone": "UTC", "after": 0, "before": 2**32, "most": 0, **one}) + "\n" for one in questions)
    done = subprocess.run([program("crontab_due")], input=lines, capture_output=True, text=True, check=True, timeout=120)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(questions)
    return answers


def random_part(field, draw):
    low, high = RANGES[field]

    def number():
        value = draw.randint(low, high)
        return draw.choice([DAYS[value], DAYS[value].upper() + "day"]) if field == "day_of_week" and draw.random() < 0.3 else str(value)

    step = f"/{draw.randint(1, high + 3)}"
    return draw.choice(["*", f"*{step}", number(), number(), f"{number()}-{number()}", f"{number()}-{number()}{step}"])


def random_fields(draw):
    # Mostly a few fields that are open, as people write them: all five closed is due once in years.
    return ["*" if draw.random() < 0.4 else ",".join(random_part(field, draw) for _ in range(draw.choice([1, 1, 2, 3])))
            for field in FIELDS]


def table():
    seed = int(os.environ.get("ERRAND_SEED", random.SystemRandom().randrange(2**32)))
    print(f"ERRAND_SEED={seed}")
    out = [text.split() for text in WRITTEN]
    for one in (FIXED_SEED, seed):
        draw = random.Random(one)
        out += [random_fields(draw) for _ in range(GENERATED // 2)]
    return out


def next_of_celery(fields, zone, after):
    """The due time that follows a run at `after`, by Celery's own arithmetic."""
    now = after.astimezone(zoneinfo.ZoneInfo(zone))
    schedule = crontab(fields, zone, lambda: now)
    return after + schedule.remaining_estimate(now)


def test_every_field_stands_for_the_numbers_that_celery_makes_of_it():
    rows = table()
    for fields, ours in zip(rows, native([{"fields": fields} for fields in rows])):
        theirs = crontab(fields)
        if "error" in ours:
            # Celery finds out when it looks for the next time.
            assert "never be due" in ours["error"], (fields, ours)
            with pytest.raises(RuntimeError):
                next_of_celery(fields, "UTC", datetime.datetime(2026, 1, 1, tzinfo=UTC))
            continue
        for field in FIELDS:
            assert ours[field] == sorted(getattr(theirs, field)), (fields, field)


@pytest.mark.parametrize("field,text", [
    ("day_of_week", "7"), ("day_of_week", "5-7"), ("minute", "5/10"), ("minute", "60"), ("hour", "24"), ("day_of_month", "0"),
    ("day_of_month", "32"), ("month_of_year", "0"), ("month_of_year", "13"), ("minute", ""), ("minute", "1,"), ("minute", "*/"),
    ("minute", "*/0"), ("minute", "*/x"), ("minute", "-1"), ("minute", "1-"), ("hour", "*5"), ("hour", "x")])
def test_what_celery_refuses_is_refused(field, text):
    fields = [text if field == one else "*" for one in FIELDS]
    with pytest.raises((ValueError, schedules.ParseException)):
        crontab(fields)
    assert f"{field}: expected" in native([{"fields": fields}])[0]["error"]


@pytest.mark.parametrize("field,text", [("minute", "*/2-5"), ("minute", "1-2-3"), ("minute", "mon"), ("minute", "1_0"),
                                        ("minute", "\u0663")])
def test_what_celery_takes_for_something_else_is_refused_on_purpose(field, text):
    fields = [text if field == one else "*" for one in FIELDS]
    crontab(fields)
    assert f"{field}: expected" in native([{"fields": fields}])[0]["error"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_the_next_due_time_is_celerys_on_days_when_clocks_do_not_change(zone):
    draw = random.Random(FIXED_SEED)
    local = zoneinfo.ZoneInfo(zone)
    questions, compared = [], 0
    for fields in table():
        for _ in range(5):
            after = draw.randrange(1_577_836_800, 1_893_456_000)  # the years 2020 to 2029
            questions.append({"fields": fields, "zone": zone, "after": after, "before": 2**40, "most": 1})
    for asked, ours in zip(questions, native(questions)):
        if "error" in ours:
            continue
        after = datetime.datetime.fromtimestamp(asked["after"], UTC)
        due = datetime.datetime.fromtimestamp(ours["due"][0], UTC)
        offsets = {(when + datetime.timedelta(days=days)).astimezone(local).utcoffset() for when in (after, due) for days in (-1, 1)}
        if len(offsets) > 1:
            continue
        # Celery takes a date without a time for one of UTC: in the west, in the evening, tomorrow is over for it, and an
        # entry that names months or days waits for the next month.
        if after.astimezone(local).date() < after.date():
            continue
        assert next_of_celery(asked["fields"], zone, after) == due, (asked, due)
        compared += 1
    assert compared > 300


def runs_of_celery(fields, zone, begin, end):
    """What beat sends when it looks once a minute, as a busy one does."""
    moment = [begin]
    local = zoneinfo.ZoneInfo(zone)
    schedule = crontab(fields, zone, lambda: moment[0].astimezone(local))
    last, runs = begin, []
    while moment[0] + datetime.timedelta(minutes=1) < end:
        moment[0] += datetime.timedelta(minutes=1)
        if schedule.is_due(last.astimezone(schedule.app.timezone)).is_due:
            last = moment[0]
            runs.append(int(last.timestamp()))
    return runs


# Since 5.6 a time that clocks skip is run as much later as the gap is long; before, at the end of the gap.
LATE_IN_GAPS = celery.VERSION >= (5, 6)
SPRING = (datetime.datetime(2026, 3, 28, 12, tzinfo=UTC), datetime.datetime(2026, 3, 29, 12, tzinfo=UTC))
AUTUMN = (datetime.datetime(2026, 10, 24, 12, tzinfo=UTC), datetime.datetime(2026, 10, 25, 12, tzinfo=UTC))


def runs_of_both(text, day):
    fields = text.split()
    question = {"fields": fields, "zone": "Europe/London", "after": int(day[0].timestamp()), "before": int(day[1].timestamp()),
                "most": 10_000}
    return native([question])[0]["due"], runs_of_celery(fields, "Europe/London", *day)


@pytest.mark.parametrize("day", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.parametrize("text", ["30 1 * * *", "0 1 * * *", "59 1 * * *", "0 2 * * *", "30 2 * * *", "5 0 * * *", "0 0 * * *",
                                  "50 17 * * *", "*/20 1 * * *"])
def test_celery_runs_entries_that_name_hours_when_we_do_on_both_days(text, day):
    ours, theirs = runs_of_both(text, day)
    if LATE_IN_GAPS and day is SPRING and text in ("30 1 * * *", "59 1 * * *"):
        ours = [ours[0] + 60 * int(text.split()[0])]
    assert ours == theirs


def test_celery_runs_entries_of_every_hour_by_local_time():
    ours, theirs = runs_of_both("15 * * * *", AUTUMN)
    repeated = int(datetime.datetime(2026, 10, 25, 1, 15, tzinfo=UTC).timestamp())
    assert repeated in ours and theirs == [one for one in ours if one != repeated]
    ours, theirs = runs_of_both("15 * * * *", SPRING)
    end_of_gap = int(datetime.datetime(2026, 3, 29, 1, 0, tzinfo=UTC).timestamp())
    assert theirs == (ours if LATE_IN_GAPS else sorted([*ours, end_of_gap]))
