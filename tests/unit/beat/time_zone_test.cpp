// Time zones: the names, what is said when one is not there, and files that are not what they should be.
#include "beat/tzif.hpp"
#include "beat/yearly_rule.hpp"
#include "beat/zone_files.hpp"
#include "times.hpp"

#include <errand/error.hpp>

#include <doctest/doctest.h>

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

using namespace errand;
using namespace errand::testing;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "errand-zones-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path_); }
  std::string path() const { return path_.string(); }
  void write(const std::string& name, const std::string& bytes) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << bytes;
  }

 private:
  fs::path path_;
};

std::string bytes_of(const std::string& zone) {
  std::ifstream in(beat::zone_directory("") + "/" + zone, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string number(std::int64_t value, int size) {
  std::string out;
  for (int shift = 8 * (size - 1); shift >= 0; shift -= 8)
    out += static_cast<char>(static_cast<std::uint64_t>(value) >> shift);
  return out;
}

struct Change {
  std::int64_t at;
  unsigned char type;
};

// A file as zic writes it, from its parts.
std::string block(char version, const std::vector<Change>& changes, const std::vector<std::int64_t>& offsets,
                  int time_size, std::int64_t leaps = 0) {
  std::string out = std::string("TZif") + version + std::string(15, '\0');
  for (const std::int64_t count : {std::int64_t{0}, std::int64_t{0}, leaps, static_cast<std::int64_t>(changes.size()),
                                   static_cast<std::int64_t>(offsets.size()), std::int64_t{4}}) {
    out += number(count, 4);
  }
  for (const Change& change : changes) out += number(change.at, time_size);
  for (const Change& change : changes) out += static_cast<char>(change.type);
  for (const std::int64_t offset : offsets) out += number(offset, 4) + std::string(2, '\0');
  return out + std::string("LMT\0", 4) + std::string(static_cast<std::size_t>(leaps * (time_size + 4)), '\0');
}

std::string file(const std::vector<Change>& changes, const std::vector<std::int64_t>& offsets,
                 const std::string& rule) {
  return block('2', {}, {0}, 4) + block('2', changes, offsets, 8) + "\n" + rule + "\n";
}

beat::TzifVerdict verdict(const std::string& bytes) {
  beat::ZoneRules rules;
  return beat::read_tzif(bytes, rules);
}

std::string refusal(std::string_view name, ErrorKind kind, const std::string& directory = {}) {
  try {
    return "opened: " + TimeZone::open(name, directory).name();
  } catch (const Error& error) {
    CHECK(error.kind() == kind);
    CHECK(error.operation() == "time_zone");
    return error.detail();
  }
}

}  // namespace

TEST_CASE("time zone: London is an hour ahead in summer, also after the last year that its file writes out") {
  const TimeZone london = TimeZone::open("Europe/London");
  CHECK(london.name() == "Europe/London");
  for (const char* year : {"1975", "2026", "2037", "2038", "2099", "2199"}) {
    CAPTURE(year);
    CHECK(london.offset_at(at(std::string(year) + "-01-15 12:00")) == 0s);
    CHECK(london.offset_at(at(std::string(year) + "-07-15 12:00")) == 3600s);
  }
  // All of 1970 was summer time there.
  CHECK(london.offset_at(at("1970-01-15 12:00")) == 3600s);
  const TimePoint spring = at("2026-03-29 01:00");
  CHECK(london.offset_at(spring - 1us) == 0s);
  CHECK(london.offset_at(spring) == 3600s);
  CHECK(london.period_at(spring).begin == spring);
  CHECK(london.period_at(spring).end == at("2026-10-25 01:00"));
}

TEST_CASE("time zone: a time that is skipped is reached at the end of the gap, one that comes twice at its first") {
  const TimeZone london = TimeZone::open("Europe/London");
  const auto local = [](const char* text) { return LocalTime{at(text).time_since_epoch()}; };
  CHECK(london.first_reached(local("2026-03-29 00:59")) == at("2026-03-29 00:59"));
  CHECK(london.first_reached(local("2026-03-29 01:30")) == at("2026-03-29 01:00"));
  CHECK(london.first_reached(local("2026-03-29 02:30")) == at("2026-03-29 01:30"));
  CHECK(london.first_reached(local("2026-10-25 01:30")) == at("2026-10-25 00:30"));
  CHECK(london.first_reached(local("2026-10-25 02:00")) == at("2026-10-25 02:00"));
  CHECK(london.latest_shown(at("2026-10-25 00:30")) == local("2026-10-25 01:30"));
  CHECK(london.latest_shown(at("2026-10-25 01:30")) == local("2026-10-25 02:00") - 1us);
  CHECK(london.latest_shown(at("2026-10-25 02:30")) == local("2026-10-25 02:30"));
}

// Not in any real zone since 1970, but nothing forbids it: the clocks go on and, before the gap is over, back again.
TEST_CASE("time zone: a gap that is taken back at once is still passed only once") {
  const Folder zones;
  zones.write("Odd/Place", file({{1'000'000'800, 1}, {1'000'001'400, 0}}, {0, 3600}, "<+00>0"));  // 02:00, 02:10
  const TimeZone odd = TimeZone::open("Odd/Place", zones.path());
  CHECK(shown_between(Crontab::parse("30 2 * * *"), "2001-09-09 01:00", "2001-09-10 01:00", odd) ==
        std::vector<std::string>{"2001-09-09 03:00:00 +60"});
  CHECK(shown_between(Crontab::parse("5 3 * * *"), "2001-09-09 01:00", "2001-09-10 01:00", odd) ==
        std::vector<std::string>{"2001-09-09 03:05:00 +60"});
  CHECK(shown_between(Crontab::parse("5 2,3 * * *"), "2001-09-09 01:00", "2001-09-10 01:00", odd).size() == 2);
}

TEST_CASE("time zone: times at both ends of what can be counted do not wrap") {
  for (const char* name : {"UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"}) {
    const TimeZone zone = TimeZone::open(name);
    for (const TimePoint when : {TimePoint::min(), TimePoint::max()}) {
      CHECK((zone.to_local(when).time_since_epoch().count() < 0) == (when.time_since_epoch().count() < 0));
      CHECK((zone.latest_shown(when).time_since_epoch().count() < 0) == (when.time_since_epoch().count() < 0));
      CHECK((zone.first_reached(LocalTime{when.time_since_epoch()}).time_since_epoch().count() < 0) ==
            (when.time_since_epoch().count() < 0));
    }
    CHECK(zone.period_at(TimePoint::min()).begin == TimePoint::min());
    CHECK(zone.period_at(TimePoint::max()).end == TimePoint::max());
  }
}

TEST_CASE("time zone: an unknown name is answered with the one that was meant") {
  const std::string expected = "expected a name of the time zone database such as Europe/London, got ";
  CHECK(refusal("Europe/Lundon", ErrorKind::invalid) == expected + "'Europe/Lundon'; did you mean Europe/London?");
  CHECK(refusal("europe/london", ErrorKind::invalid) == expected + "'europe/london'; did you mean Europe/London?");
  CHECK(refusal("Berlin", ErrorKind::invalid) == expected + "'Berlin'; did you mean Europe/Berlin?");
  CHECK(refusal("utc", ErrorKind::invalid).find("did you mean") != std::string::npos);
  CHECK(refusal("Middle-earth/Shire", ErrorKind::invalid).find("package tzdata-legacy") != std::string::npos);
  CHECK(refusal("", ErrorKind::invalid).starts_with(expected + "''"));
}

// A zone's name comes from a configuration file and becomes part of a path.
TEST_CASE("time zone: no name leads out of the database, and only a zone's file is a zone") {
  for (const char* name :
       {"../../../etc/passwd", "/etc/localtime", "Europe/../Europe/London", ".", "Europe", "Europe/", "Europe//London",
        "zone.tab", "tzdata.zi", "leapseconds", "Europe/London/x", "a b", "\xff"}) {
    CAPTURE(name);
    CHECK(refusal(name, ErrorKind::invalid).starts_with("expected a name of the time zone database"));
  }
  CHECK(refusal(std::string("Europe/London\0", 14), ErrorKind::invalid).starts_with("expected a name"));
  CHECK(refusal(std::string(5'000'000, 'x'), ErrorKind::invalid).size() < 300);
}

TEST_CASE("F107_without a database UTC goes on, and every other zone names the package to install") {
  const Folder empty;
  for (const std::string& directory : {empty.path(), empty.path() + "/none"}) {
    CHECK(TimeZone::open("UTC", directory).offset_at(at("2026-07-01 00:00")) == 0s);
    CHECK(TimeZone::open("Etc/UTC", directory).name() == "UTC");
    CHECK(refusal("Europe/London", ErrorKind::unavailable, directory) ==
          "expected the time zone database in " + directory +
              ", found none; install the Debian package tzdata, or use UTC, which needs no database");
  }
  CHECK(Crontab::parse("0 7 * * *").next(at("2026-03-29 00:00")) == at("2026-03-29 07:00"));
}

TEST_CASE("F107_a zone stays what it was when the database changes, and open sees the new one") {
  const Folder zones;
  zones.write("Europe/London", bytes_of("Europe/London"));
  const TimeZone before = TimeZone::open("Europe/London", zones.path());
  zones.write("Europe/London", bytes_of("Asia/Tokyo"));
  CHECK(before.offset_at(at("2026-07-01 00:00")) == 3600s);
  CHECK(TimeZone::open("Europe/London", zones.path()).offset_at(at("2026-07-01 00:00")) == 9h);
  fs::remove_all(zones.path() + "/Europe");
  CHECK(before.offset_at(at("2026-07-01 00:00")) == 3600s);
  CHECK(refusal("Europe/London", ErrorKind::unavailable, zones.path()).find("package tzdata") != std::string::npos);
}

TEST_CASE("F107_every cut of a zone's file is refused, and so is anything that is no zone") {
  const std::string whole = bytes_of("Europe/London");
  REQUIRE(verdict(whole) == beat::TzifVerdict::good);
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK(verdict(whole.substr(0, size)) != beat::TzifVerdict::good);
  CHECK(verdict("PK" + whole) == beat::TzifVerdict::not_tzif);
  CHECK(verdict(whole + std::string(100'000, '\n')) == beat::TzifVerdict::damaged);
  const Folder zones;
  zones.write("Europe/London", whole.substr(0, 1000));
  zones.write("Etc/GMT", bytes_of("Etc/GMT"));
  CHECK(refusal("Europe/London", ErrorKind::unavailable, zones.path()) ==
        "expected a TZif file in " + zones.path() + "/Europe/London, it is damaged; install tzdata again");
}

TEST_CASE("F107_values that no zone can have are refused") {
  using beat::TzifVerdict;
  CHECK(verdict(file({{100, 1}, {200, 0}}, {0, 3600}, "")) == TzifVerdict::good);
  CHECK(verdict(file({{200, 1}, {100, 0}}, {0, 3600}, "")) == TzifVerdict::damaged);
  CHECK(verdict(file({{200, 1}, {200, 0}}, {0, 3600}, "")) == TzifVerdict::damaged);
  CHECK(verdict(file({{100, 2}}, {0, 3600}, "")) == TzifVerdict::damaged);
  CHECK(verdict(file({}, {}, "")) == TzifVerdict::damaged);
  CHECK(verdict(file({}, {26 * 3600 + 1}, "")) == TzifVerdict::damaged);
  CHECK(verdict(file({}, {-2'147'483'648}, "")) == TzifVerdict::damaged);
  CHECK(verdict(file({}, {0}, "nonsense")) == TzifVerdict::damaged);
  CHECK(verdict(file({{std::numeric_limits<std::int64_t>::min(), 0}, {std::numeric_limits<std::int64_t>::max(), 1}},
                     {0, 3600}, "")) == TzifVerdict::good);
  CHECK(verdict(file({{std::numeric_limits<std::int64_t>::max(), 1}}, {0, 3600}, "EST5EDT,M3.2.0,M11.1.0")) ==
        TzifVerdict::good);
  CHECK(verdict(block('2', {}, {0}, 4) + block('2', {}, {0}, 8, 27) + "\n\n") == TzifVerdict::leap_seconds);
  // Counts that would need more memory than there is.
  std::string huge = file({}, {0}, "");
  for (std::size_t i = 20; i < 44; ++i) huge[i] = '\xff';
  CHECK(verdict(huge) == TzifVerdict::damaged);
}

TEST_CASE("time zone: files of the first version, without times of 64 bits and without a rule, are read") {
  const Folder zones;
  zones.write("Old/Zone", block('\0', {{-100, 1}, {1'000'000'000, 2}}, {0, 3600, -1800}, 4));
  const TimeZone old = TimeZone::open("Old/Zone", zones.path());
  CHECK(old.offset_at(at("1970-01-01 00:00")) == 3600s);
  CHECK(old.offset_at(at("2150-01-01 00:00")) == -1800s);
}

TEST_CASE("time zone: a file that has only a rule is that rule in every year") {
  const Folder zones;
  zones.write("Rule", file({}, {0}, "EST5EDT,M3.2.0,M11.1.0"));
  zones.write("Fixed", file({}, {0}, "<+0530>-5:30"));
  // RFC 9636, section 3.3.1: summer time without an end.
  zones.write("Summer", file({}, {0}, "XXX3EDT4,0/0,J365/23"));
  const TimeZone rule = TimeZone::open("Rule", zones.path());
  CHECK(rule.offset_at(at("1970-01-01 00:00")) == -5h);
  CHECK(rule.offset_at(at("1970-07-01 00:00")) == -4h);
  CHECK(rule.offset_at(at("2026-03-08 06:59")) == -5h);
  CHECK(rule.offset_at(at("2026-03-08 07:00")) == -4h);
  CHECK(rule.offset_at(at("2026-11-01 06:00")) == -5h);
  CHECK(TimeZone::open("Fixed", zones.path()).offset_at(at("1970-01-01 00:00")) == 5h + 30min);
  const TimeZone summer = TimeZone::open("Summer", zones.path());
  CHECK(summer.offset_at(at("1970-01-01 00:00")) == -4h);
  CHECK(summer.period_at(at("2026-01-01 03:30")).begin == TimePoint::min());
  CHECK(summer.period_at(at("2026-01-01 03:30")).end == TimePoint::max());
}

TEST_CASE("time zone: rules are read in every form that POSIX and RFC 9636 give them, and in no other") {
  const auto changes = [](const char* text, int year) {
    const auto all = beat::parse_yearly_rule(text).value().changes(std::chrono::year{year});
    return std::vector<std::string>{core::format_iso8601(all[0].at).substr(0, 19),
                                    core::format_iso8601(all[1].at).substr(0, 19)};
  };
  using Two = std::vector<std::string>;
  CHECK(changes("GMT0BST,M3.5.0/1,M10.5.0", 2026) == Two{"2026-03-29T01:00:00", "2026-10-25T01:00:00"});
  CHECK(changes("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026) == Two{"2026-03-29T01:00:00", "2026-10-25T01:00:00"});
  CHECK(changes("EET-2EEST,M3.4.4/50,M10.4.4/50", 2026) == Two{"2026-03-28T00:00:00", "2026-10-23T23:00:00"});
  CHECK(changes("IST-1GMT0,M10.5.0,M3.5.0/1", 2026) == Two{"2026-10-25T01:00:00", "2026-03-29T01:00:00"});
  CHECK(changes("AAA+0:00:30BBB-1:30,J60/0,59/+1:00:00", 2024) == Two{"2024-03-01T00:00:30", "2024-02-28T23:30:00"});
  CHECK(changes("AAA0BBB,J60,60", 2023) == Two{"2023-03-01T02:00:00", "2023-03-02T01:00:00"});
  for (const char* text : {"",
                           "GMT",
                           "GM0",
                           "GMT0BST",
                           "GMT0BST,M3.5.0",
                           "GMT0BST,M3.5.0,M10.5.0,",
                           "GMT0BST,M13.5.0,M10.5.0",
                           "GMT0BST,M0.5.0,M10.5.0",
                           "GMT0BST,M3.0.0,M10.5.0",
                           "GMT0BST,M3.6.0,M10.5.0",
                           "GMT0BST,M3.5.7,M10.5.0",
                           "GMT0BST,J0,J365",
                           "GMT0BST,J1,J366",
                           "GMT0BST,366,1",
                           "GMT0BST,M3.5.0/168,M10.5.0",
                           "GMT25",
                           "GMT0:60",
                           "GMT0 ",
                           "<GMT0",
                           "<+0>0",
                           "GMT0BST,M3.5.0/,M10.5.0",
                           "GMT99999999999999"}) {
    CAPTURE(text);
    CHECK_FALSE(beat::parse_yearly_rule(text).has_value());
  }
}

TEST_CASE("time zone: the database lists its names, with those of every continent and no other files") {
  const auto names = beat::zone_names(beat::zone_directory(""));
  CHECK(names.size() > 300);
  CHECK(std::is_sorted(names.begin(), names.end()));
  for (const char* name : {"Europe/London", "America/Argentina/Ushuaia", "Etc/GMT+12", "UTC"}) {
    CHECK(std::binary_search(names.begin(), names.end(), name));
  }
  for (const std::string& name : names) {
    CHECK_FALSE(name.starts_with("posix/"));
    CHECK_FALSE(name.starts_with("right/"));
  }
}
