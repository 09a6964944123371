#include "pools/sentinel.hpp"

#include <fcntl.h>
#include <clocale>
#include <cstring>

namespace errand::pools {

namespace {
// There is no way to ask without setting.
mode_t current_umask() {
  const mode_t mask = umask(0077);
  umask(mask);
  return mask;
}
const char* current_locale() {
  const char* name = std::setlocale(LC_ALL, nullptr);
  return name == nullptr ? "" : name;
}
}  // namespace

Sentinel::Sentinel(int socket) : umask_(current_umask()), locale_(current_locale()) {
  struct stat about{};
  for (std::size_t i = 0; i < fds_.size(); ++i) {
    const int fd = i == 3 ? socket : static_cast<int>(i);
    if (fstat(fd, &about) == 0) fds_[i] = {fd, about.st_dev, about.st_ino};
  }
  if (stat(".", &about) == 0) {
    folder_device_ = about.st_dev;
    folder_inode_ = about.st_ino;
  }
  pthread_sigmask(SIG_SETMASK, nullptr, &mask_);
}

bool Sentinel::same(std::size_t which) const noexcept {
  const Identity& was = fds_[which];
  struct stat about{};
  return was.fd < 0 || (fstat(was.fd, &about) == 0 && about.st_dev == was.device && about.st_ino == was.inode);
}

std::string Sentinel::damage() const {
  std::string out;
  const auto add = [&](const char* what) { out += (out.empty() ? "" : ", ") + std::string(what); };
  if (!same(0) || !same(1) || !same(2)) add("standard input or output");
  if (!same(3)) add("the worker's socket");
  struct stat about{};
  const bool folder = stat(".", &about) == 0 && about.st_dev == folder_device_ && about.st_ino == folder_inode_;
  if (!folder && folder_inode_ != 0) add("working directory");
  if (current_umask() != umask_) add("umask");
  sigset_t mask{};
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  if (std::memcmp(&mask, &mask_, sizeof mask) != 0) add("signal mask");
  if (locale_ != current_locale()) add("locale");
  return out;
}

}  // namespace errand::pools
