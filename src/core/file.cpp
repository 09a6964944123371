#include "core/file.hpp"

#include "core/fd.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <cstring>

namespace errand::core {

namespace {
std::string octal(mode_t mode) {
  std::string digits;
  for (int shift = 9; shift >= 0; shift -= 3) digits += static_cast<char>('0' + ((mode >> shift) & 7));
  return digits;
}
}  // namespace

std::string current_user() {
  const uid_t uid = geteuid();
  std::array<char, 4'096> room{};
  passwd entry{};
  passwd* found = nullptr;
  std::string number = "uid " + std::to_string(uid);
  if (getpwuid_r(uid, &entry, room.data(), room.size(), &found) != 0 || found == nullptr) return number;
  return std::string(entry.pw_name) + " (" + number + ")";
}

std::optional<std::string> read_file(const std::string& path, std::size_t limit, std::string& wrong) {
  const core::UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    const int error = errno;
    wrong = std::string("cannot be read: ") + std::strerror(error);
    if (error == EACCES)
      wrong += "; " + current_user() + " needs the right to read it (mode 0640 with the right owner or group)";
    if (error == ENOENT) wrong += "; check the path";
    return std::nullopt;
  }
  struct stat about{};
  if (fstat(file.get(), &about) == 0 && S_ISDIR(about.st_mode)) {
    wrong = "cannot be read: it is a directory; expected a file";
    return std::nullopt;
  }
  std::string text;
  // It may hold a secret, and processes that are forked later have this stack.
  struct Wiped {
    std::array<char, 16'384> bytes;
    ~Wiped() { explicit_bzero(bytes.data(), bytes.size()); }
  } wiped;
  auto& part = wiped.bytes;
  for (;;) {
    const ssize_t n = read(file.get(), part.data(), part.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      wrong = std::string("cannot be read: ") + std::strerror(errno);
      return std::nullopt;
    }
    if (n == 0) return text;
    text.append(part.data(), static_cast<std::size_t>(n));
    if (text.size() > limit) {
      wrong = "is larger than the limit of " + std::to_string(limit) + " bytes";
      return std::nullopt;
    }
  }
}

std::string loose_mode(const std::string& path) {
  struct stat about{};
  if (stat(path.c_str(), &about) != 0 || !S_ISREG(about.st_mode)) return "";
  const mode_t mode = about.st_mode & 07777;
  if ((mode & 0027) == 0) return "";
  return "holds a secret and has mode " + octal(mode) + "; expected 0640 or tighter: chmod 640 " + path;
}

}  // namespace errand::core
